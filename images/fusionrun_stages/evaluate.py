"""evaluate: score one model on the benchmarks, one greedy response per prompt.

Run: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages evaluate``

A truncated, failed or blank response is wrong. A prompt whose gold answer or tests cannot be used is left out, for
every model.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from fusionrun.api.evaluation import Grader
from fusionrun.api.evaluation_tasks import BenchmarkParameters, EvaluateParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.values import Evaluated
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading.judging import join_responses, judge
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work

EXAMPLES = 3
EXAMPLE_MAX_CHARACTERS = 2000


@dataclass
class BenchmarkCounts:
    """Graded responses of one benchmark."""

    right: int = 0
    graded: int = 0
    left_out: int = 0
    truncated: int = 0
    failed: int = 0
    blank: int = 0
    """Answered without a text, for example with reasoning only."""
    wrong_answers: list[dict[str, Any]] = field(default_factory=list)
    """Examples."""

    def percent(self) -> float:
        """Return the share of right responses, in percent."""
        return 100 * self.right / self.graded

    def standard_error(self) -> float:
        """Return the binomial standard error of the share, in percentage points."""
        share = self.right / self.graded
        return 100 * math.sqrt(share * (1 - share) / self.graded)


def run(work: Work) -> Made:
    """Return the score of each benchmark in percent; the details have its standard error and some wrong responses."""
    parameters = work.parameters(EvaluateParameters)
    tallies = {benchmark.name: BenchmarkCounts() for benchmark in parameters.benchmarks}
    for shard in range(parameters.shards):
        prompts = list(read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt))
        responses = list(read_rows(shard_path(parameters.responses_dir, shard, parameters.shards), Response))
        for benchmark in parameters.benchmarks:
            verdicts = _verdicts(work, parameters, shard, benchmark, prompts, responses)
            benchmark_prompts = [prompt for prompt in prompts if prompt.dataset == benchmark.name]
            count(tallies[benchmark.name], benchmark_prompts, responses, verdicts)
        work.report(shard + 1, parameters.shards, "shards")
    for number, benchmark in enumerate(parameters.benchmarks):
        if not tallies[benchmark.name].graded:
            raise UserError(f"evaluation.benchmarks[{number}] ({benchmark.name}): none of its prompts can be judged")
    return Made(
        values=Evaluated(
            scores={name: round(tally.percent(), 4) for name, tally in tallies.items()},
            graded={name: tally.graded for name, tally in tallies.items()},
        ),
        details={
            name: asdict(tally) | {"standard_error": round(tally.standard_error(), 4)}
            for name, tally in tallies.items()
        },
    )


def _verdicts(
    work: Work,
    parameters: EvaluateParameters,
    shard: int,
    benchmark: BenchmarkParameters,
    prompts: list[Prompt],
    responses: list[Response],
) -> list[Verdict]:
    if benchmark.grader is not Grader.CODING:
        joined = list(join_responses(prompts, responses, [benchmark.name]))
        return judge(benchmark.grader, joined, lambda _: work.report(shard, parameters.shards, "shards"))
    if parameters.verdicts_dir is None:
        raise InfrastructureError(f"benchmark {benchmark.name} is graded by tests, but the task has no verdicts")
    return list(read_rows(shard_path(parameters.verdicts_dir, shard, parameters.shards), Verdict))


def count(
    tally: BenchmarkCounts, prompts: Iterable[Prompt], responses: Iterable[Response], verdicts: Iterable[Verdict]
) -> None:
    """Add one shard's responses to the counts of a benchmark: the first sample of each prompt."""
    first: dict[str, Response] = {}
    for row in sorted(responses, key=lambda row: row.sample_index):
        first.setdefault(row.prompt_id, row)
    by_key = {(verdict.prompt_id, verdict.sample_index): verdict for verdict in verdicts}
    for prompt in prompts:
        response = first.get(prompt.prompt_id)
        verdict = by_key.get((prompt.prompt_id, response.sample_index)) if response else None
        if verdict is not None and verdict.detail.startswith(PROMPT_FAULT):
            tally.left_out += 1
            continue
        tally.graded += 1
        reason = response.finish_reason if response else "error"
        tally.truncated += reason == "length"
        tally.failed += reason == "error"
        tally.blank += reason != "error" and response is not None and not response.text.strip()
        if verdict is not None and verdict.verdict is VerdictValue.RIGHT and reason == "stop":
            tally.right += 1
        elif len(tally.wrong_answers) < EXAMPLES:
            tally.wrong_answers.append(_example(prompt, response, verdict))


def _example(prompt: Prompt, response: Response | None, verdict: Verdict | None) -> dict[str, Any]:
    return {
        "prompt": prompt.prompt[:EXAMPLE_MAX_CHARACTERS],
        "reference": prompt.answer,
        "answer": response.text[:EXAMPLE_MAX_CHARACTERS] if response else None,
        "finish_reason": response.finish_reason if response else "error",
        "verdict": str(verdict.verdict) if verdict else None,
        "detail": verdict.detail if verdict else "",
    }
