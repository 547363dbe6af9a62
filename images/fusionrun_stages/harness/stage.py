"""All tasks of lm-eval of one model, one after the other, and their results for ``evaluate``."""

import logging
from collections.abc import Iterator
from pathlib import Path

from fusionrun.api.artifacts import HARNESS
from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.tasks.harness import HarnessModel, HarnessScore, HarnessTasks
from fusionrun_stages.harness.measure import measure
from fusionrun_stages.volume.atomic import read_json
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.work import Report

log = logging.getLogger(__name__)


def measure_all(
    output: Path, model: HarnessModel, harness: HarnessTasks, pod_uid: str, report: Report
) -> list[HarnessScore]:
    """Measure the model on each task; return the scores.

    A task whose result is in ``output`` is not measured again, and a request whose reply is stored is not sent again.

    Raises
    ------
    StageError
        If the server rejects the requests or stalls, or if the data of a task cannot be used.
    """
    scores = []
    for task in harness.tasks:
        field = f"evaluation.benchmarks[{task.name}].task"
        folder = Path(harness.data[task.name])
        score = measure(output, task, model, folder, field, pod_uid, report)
        log.info("%s: %s of lm-eval: %.2f %% of %d questions", task.name, task.task, score.score, score.questions)
        scores.append(score)
    return scores


def result_files(name: str) -> list[str]:
    """Return the files of a task, relative to the folder of the artifact."""
    return [f"{HARNESS}/{name}{suffix}" for suffix in (".json", ".parquet", ".scores.parquet")]


def read_score(output: Path, name: str) -> HarnessScore:
    """Read the score of a benchmark."""
    return HarnessScore.model_validate(read_json(output / HARNESS / f"{name}.json"))


def read_question_scores(output: Path, name: str) -> Iterator[QuestionScore]:
    """Read the scores of the questions of a benchmark."""
    return read_rows(output / HARNESS / f"{name}.scores.parquet", QuestionScore)
