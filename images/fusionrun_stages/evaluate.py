"""evaluate: score one model on the benchmarks, with intervals, and write the score of each question.

Run: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages evaluate``

The score of a question is the mean over the responses to it. A failed or blank response is wrong; a truncated one is
wrong unless the protocol grades it. A prompt whose gold answer or tests cannot be used is left out, for every model.
A benchmark without any graded response has no score; the result says why. UserError if no benchmark has one.
A benchmark without a protocol, in tasks of releases up to 0.2.0, is scored by the first response to each prompt.
``generate`` has graded the tasks of lm-eval: their scores are copied.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fusionrun.api.artifacts import QUESTION_SCORES_FILE
from fusionrun.api.evaluation_records import Judgement, QuestionScore
from fusionrun.api.records import Response, Verdict
from fusionrun.api.results.values import Evaluated
from fusionrun.api.tasks.evaluation import BenchmarkParameters, EvaluateParameters
from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.errors import UserError
from fusionrun_stages.evaluation.answers import Answered, batches, join, read_questions
from fusionrun_stages.evaluation.details import DIGITS, details_of, judge_text, scored
from fusionrun_stages.evaluation.grading import BenchmarkGrader, Inputs
from fusionrun_stages.evaluation.length_control import complete
from fusionrun_stages.evaluation.tallies import Tally
from fusionrun_stages.evaluation.tasks_of_lm_eval import MeasuredTask, is_task
from fusionrun_stages.uncertainty.intervals import Interval, interval, normal
from fusionrun_stages.uncertainty.scored import score
from fusionrun_stages.volume.parquet import RowWriter, open_rows, read_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


def run(work: Work) -> Made:
    """Return the score of each benchmark in its unit, with its 95 % interval; the details describe how it was made."""
    parameters = work.parameters(EvaluateParameters)
    materials = Path(parameters.materials_dir) if parameters.materials_dir else None
    tasks = {b.name: MeasuredTask(b, parameters) for b in parameters.benchmarks if is_task(b)}
    tallies, errors = _grade(work, parameters, materials, tasks)
    found = {name: _score(tally, errors.get(name), parameters.seed) for name, tally in tallies.items()}
    unscored = _unscored(parameters.benchmarks, tallies, {name for name, (value, _) in found.items() if value is None})
    known = {name: bounds for name, (_, bounds) in found.items() if bounds is not None}
    details = {
        name: details_of(tally, *found[name], parameters.seed, materials, parameters.judge)
        | ({"unscored": unscored[name]} if name in unscored else {})
        | ({"standard_error_of_protocol": round(error, DIGITS)} if (error := errors.get(name)) is not None else {})
        | (tasks[name].details() if name in tasks else {})
        for name, tally in tallies.items()
    }
    for name, detail in details.items():
        if text := judge_text(detail):
            log.info("%s: %s", name, text)
    return Made(
        values=Evaluated(
            scores={name: round(value, DIGITS) for name, (value, _) in found.items() if value is not None},
            graded={name: tally.graded for name, tally in tallies.items()},
            unscored=unscored,
            lower={name: round(bounds.lower, 2) for name, bounds in known.items()},
            upper={name: round(bounds.upper, 2) for name, bounds in known.items()},
        ),
        files=[QUESTION_SCORES_FILE, *(task.copy_score(work.output) for task in tasks.values())],
        details=details,
    )


def _unscored(
    benchmarks: Sequence[BenchmarkParameters], tallies: Mapping[str, Tally], names: set[str]
) -> dict[str, str]:
    """Return why the named benchmarks have no score, and log it; UserError if none of the benchmarks has a score."""
    reasons = {b.name: _no_score(b, tallies[b.name]) for b in benchmarks if b.name in names}
    messages = [
        f"evaluation.benchmarks[{number}] ({b.name}): {reasons[b.name]}"
        for number, b in enumerate(benchmarks)
        if b.name in names
    ]
    if len(reasons) == len(benchmarks):
        raise UserError("; ".join(messages))
    for message in messages:
        log.warning("%s", message)
    return reasons


def _no_score(benchmark: BenchmarkParameters, tally: Tally) -> str:
    """Return why no response of a benchmark could be graded."""
    if not benchmark.grader.needs_judge:
        return "none of its prompts has a usable answer or usable tests"
    return (
        f"the judge gave no usable verdict ({tally.unparsed} responses without one): see its replies in judgements/ of "
        "the artifact of `judge`; use another `evaluation.judge`, or leave out the benchmark"
    )


def _grade(
    work: Work, parameters: EvaluateParameters, materials: Path | None, tasks: Mapping[str, MeasuredTask]
) -> tuple[dict[str, Tally], dict[str, float | None]]:
    """Grade all responses and write the rows; return the tallies, and standard errors that protocols compute."""
    inputs = Inputs(
        parameters.verdicts_dir is not None,
        parameters.judgements_dir is not None,
        materials,
        lambda _: work.report(shard, parameters.shards, "shards"),
    )
    graders = {b.name: BenchmarkGrader(b, inputs) for b in parameters.benchmarks if b.name not in tasks}
    tallies = {
        b.name: tasks[b.name].tally if b.name in tasks else _tally(b, graders[b.name]) for b in parameters.benchmarks
    }
    shard = 0
    with open_rows(work.output / QUESTION_SCORES_FILE, QuestionScore) as rows:
        for shard in range(parameters.shards):
            for batch in batches(_answered(parameters, shard, set(graders))):
                for name, grader in graders.items():
                    for graded in grader.grade([one for one in batch if one.question.dataset == name]):
                        _append(rows, tallies[name].add(graded))
                work.report(shard, parameters.shards, "shards")
            work.report(shard + 1, parameters.shards, "shards")
        for task in tasks.values():
            _append(rows, task.rows())
        errors: dict[str, float | None] = {}
        for name, tally in tallies.items():
            if tally.length_control is not None:
                completed, errors[name] = complete(tally, materials)
                _append(rows, completed)
    return tallies, errors


def _append(rows: RowWriter, scores: Iterator[QuestionScore]) -> None:
    for row in scores:
        rows.append(row)


def _tally(benchmark: BenchmarkParameters, grader: BenchmarkGrader) -> Tally:
    return Tally(benchmark.name, grader.low, grader.high, benchmark.protocol)


def _answered(parameters: EvaluateParameters, shard: int, names: set[str]) -> Iterator[Answered]:
    """Yield the questions of a shard with the rows about them."""

    def path(directory: str) -> Path:
        return shard_path(directory, shard, parameters.shards)

    verdicts, judgements = parameters.verdicts_dir, parameters.judgements_dir
    joined = join(
        read_questions(path(parameters.prompts_dir)),
        read_rows(path(parameters.responses_dir), Response),
        read_rows(path(verdicts), Verdict) if verdicts else (),
        read_rows(path(judgements), Judgement) if judgements else (),
    )
    return (one for one in joined if one.question.dataset in names)


def _score(tally: Tally, error: float | None, seed: int) -> tuple[float | None, Interval | None]:
    """Return the score of a benchmark and its interval; ``error`` is a standard error that its protocol computes.

    The standard error of the length-controlled win rate has only the spread of the questions' difficulty, and none of
    the regression. So the interval is at least as wide as that of the win rate that is not controlled.
    """
    protocol, numbers = tally.protocol, scored(tally.columns[""])
    aggregation = protocol.aggregation if protocol else Aggregation.MEAN
    unit = protocol.unit if protocol else Unit.PERCENT
    value = score(numbers, aggregation)
    if value is None or error is None:
        return value, interval(numbers, aggregation, unit, seed)
    raw = [interval(scored(column), Aggregation.MEAN, unit, seed) for name, column in tally.columns.items() if name]
    return value, normal(value, max([error, *(found.standard_error for found in raw if found)]), unit)
