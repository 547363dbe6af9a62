"""The scores of the tasks of lm-eval, which ``generate`` has computed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import HARNESS
from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.evaluation import BenchmarkParameters, EvaluateParameters
from fusionrun.api.tasks.harness import HarnessScore
from fusionrun.api.tasks.protocol import Unit
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.evaluation.tallies import Tally
from fusionrun_stages.harness.stage import read_question_scores, read_score
from fusionrun_stages.uncertainty.intervals import RANGES
from fusionrun_stages.volume.atomic import write_atomic


def is_task(benchmark: BenchmarkParameters) -> bool:
    """Return whether a benchmark is a task of lm-eval."""
    return benchmark.grader is Grader.LM_EVAL


class MeasuredTask:
    """A task of lm-eval with its score, its tally and the scores of its questions."""

    def __init__(self, benchmark: BenchmarkParameters, parameters: EvaluateParameters) -> None:
        if parameters.harness_dir is None or benchmark.protocol is None:
            raise InfrastructureError(f"benchmark {benchmark.name} is a task of lm-eval, but the task has no results")
        self._folder = Path(parameters.harness_dir)
        self.score: HarnessScore = read_score(self._folder, benchmark.name)
        # How the tasks of a group are averaged is known when lm-eval has loaded them.
        protocol = benchmark.protocol.model_copy(update={"aggregation": self.score.aggregation})
        self.tally = Tally(benchmark.name, *RANGES[Unit.PERCENT], protocol, content_sha256=self.score.content)

    def rows(self) -> Iterator[QuestionScore]:
        """Count the questions and yield their rows."""
        for row in read_question_scores(self._folder, self.score.benchmark):
            self.tally.add_row(row)
            yield row

    def copy_score(self, output: Path) -> str:
        """Write the score to the artifact of ``evaluate``, where ``compare`` finds it; return the name of the file."""
        name = f"{HARNESS}/{self.score.benchmark}.json"
        (output / HARNESS).mkdir(exist_ok=True)
        write_atomic(output / name, self.score.model_dump_json(indent=1).encode())
        return name

    def details(self) -> dict[str, Any]:
        """Return what the manifest says besides the details of other benchmarks."""
        score = self.score
        return {
            "task": score.task,
            "metric": score.metric,
            "lm_eval": score.lm_eval,
            "official": score.official,
            "available": score.available,
            "requests": score.requests,
        }
