"""Grade responses to the questions of a benchmark of code, whose tests are in ``Question.data``."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fusionrun.api.evaluation_records import Question
from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grade import DISTURBED, Grade, disturbed, unusable
from fusionrun_stages.grading.coding.grading import check_that_programs_run, isolation
from fusionrun_stages.grading.processes import ProcessDied, map_in_processes

if TYPE_CHECKING:
    from fusionrun_stages.sandbox.judge import Judge


class Result(NamedTuple):
    """The grade of a response."""

    grade: Grade
    plus: Grade | None = None
    """Of all tests, if ``grade`` is that of the base tests."""

    @property
    def is_disturbed(self) -> bool:
        """Whether the program must be run again, alone."""
        return any(grade is not None and grade.detail.startswith(DISTURBED) for grade in self)


class Asked(NamedTuple):
    """A question, and the texts of the responses to it."""

    question: Question
    texts: Sequence[str]


class _Item(NamedTuple):
    """What a process grades at once: different texts of responses to one question."""

    question: int
    """Its index."""
    texts: tuple[str, ...]


Check: TypeAlias = Callable[["Judge", Question, Sequence[str]], list[Result]]


def grade_questions(asked: Sequence[Asked], processes: int | None = None) -> Iterator[tuple[int, str, Result]]:
    """Check the isolation, then grade; yield the index of a question, a text and its result when it is complete.

    Equal texts are graded once per question. Disturbed programs are run again at the end, alone.
    """
    items = [item for index, one in enumerate(asked) for item in _split(index, one)]
    if not items:
        return
    again: list[_Item] = []
    for item, results in _grade(asked, items, processes or isolation().programs_at_once):
        for text, result in zip(item.texts, results, strict=True):
            if result.is_disturbed:
                again.append(_Item(item.question, (text,)))
            else:
                yield item.question, text, result
    disturbed_again = False
    for item, (result,) in _grade(asked, again, 1):
        disturbed_again |= result.is_disturbed
        yield item.question, item.texts[0], result
    if disturbed_again:
        check_that_programs_run()


def _split(index: int, one: Asked) -> Iterator[_Item]:
    """Yield all texts together for EvalPlus, where they share the expected outputs; else each alone."""
    texts = tuple(dict.fromkeys(one.texts))
    if one.question.task == Grader.EVAL_PLUS:
        yield from [_Item(index, texts)] if texts else []
    else:
        yield from (_Item(index, (text,)) for text in texts)


def _grade(asked: Sequence[Asked], items: list[_Item], processes: int) -> Iterator[tuple[_Item, list[Result]]]:
    # The processes are forked, so they have the questions; only numbers are sent.
    for number, found in map_in_processes(lambda: _grader(asked, items), range(len(items)), processes):
        if isinstance(found, InfrastructureError):
            raise found
        if isinstance(found, ProcessDied):
            found = [Result(disturbed("the grader died"))] * len(items[number].texts)  # noqa: PLW2901
        yield items[number], found


def _grader(asked: Sequence[Asked], items: list[_Item]) -> Callable[[int], list[Result] | InfrastructureError]:
    from fusionrun_stages.sandbox.judge import Judge

    judge = Judge()
    sys.set_int_max_str_digits(0)  # in tests, a number may have thousands of digits

    def grade(number: int) -> list[Result] | InfrastructureError:
        item = items[number]
        question = asked[item.question].question
        check = _find_check(question.task)
        if check is None:
            return [Result(unusable(f"its task is {question.task}: no program answers it"))] * len(item.texts)
        try:
            return check(judge, question, item.texts)
        except InfrastructureError as error:
            return error  # an exception would kill the process, as if the program had done it

    return grade


def _find_check(task: str) -> Check | None:
    if task == Grader.EVAL_PLUS:
        from fusionrun_stages.grading import eval_plus

        return eval_plus.check
    if task == Grader.LIVE_CODE_BENCH:
        from fusionrun_stages.grading import live_code_bench

        return live_code_bench.check
    return None
