"""The committed scores of LiveBench's official code (``hack/oracle/live_bench.py``): ours are the same."""

import json

import pytest
from oracle.live_bench import read_scores
from oracle.live_bench_cases import cases
from oracle.live_bench_cases.instructions import CHECKED

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading.live_bench import grade_all
from fusionrun_stages.grading.live_bench.instructions import CHECKERS

SCORED = list(read_scores())
TASKS = sorted({f"{invented.category}/{invented.task}" for invented, _ in SCORED})


def scored(task):
    """Return question, response and official score for every response of the task."""
    found = []
    for index, (invented, scores) in enumerate(SCORED):
        if f"{invented.category}/{invented.task}" == task:
            question = Question(
                prompt_id=f"{index:016x}",
                dataset="live-bench",
                task="LiveBench",
                prompt=invented.prompt,
                group=task,
                data=json.dumps(invented.row),
            )
            found += [(question, *pair) for pair in zip(invented.responses, scores, strict=True)]
    return found


def test_the_committed_questions_are_those_that_the_script_invents():
    assert sum(len(scores) for _, scores in SCORED) >= 4000
    assert [invented for invented, _ in SCORED] == list(cases())


def test_every_instruction_is_compared():
    assert set(CHECKED) == set(CHECKERS)


@pytest.mark.parametrize("task", TASKS)
def test_our_scores_are_the_official_ones(task):
    compared = scored(task)
    marks = dict(grade_all([(question, response) for question, response, _ in compared]))
    different = [
        (question.data, response, official, marks[index])
        for index, (question, response, official) in enumerate(compared)
        if official != "error" and marks[index].value != pytest.approx(official, abs=1e-9)
    ]
    assert not different


def test_a_response_on_which_the_official_code_fails_gets_no_points_but_for_a_text_without_letters():
    # langdetect finds no language in it. IFEval counts the instruction as followed; LiveBench's copy fails to log it.
    failed = [(q, response) for task in TASKS for q, response, official in scored(task) if official == "error"]
    marks = dict(grade_all(failed))
    assert failed
    for index, (_, response) in enumerate(failed):
        assert marks[index].value == 0.0 or not any(character.isalpha() for character in response)
