"""verify: judge one source's responses of a shard by rule: right, wrong or unknown.

Run: ``FUSIONRUN_TASK=task.json JOB_COMPLETION_INDEX=0 python -m fusionrun_stages verify``

For coding, ``python -m fusionrun_stages.sandbox.runner`` must run. Prompts and responses are sorted
by prompt, so they are read side by side and judged in batches: the pod that judges programs has little memory, and a
shard may have any size.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import VERDICTS
from fusionrun.api.parameters import VerifyParameters
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.values import Verified
from fusionrun_stages.grading.judging import isolation_details, join_responses, judge, make_batches
from fusionrun_stages.volume.parquet import open_rows, read_rows
from fusionrun_stages.volume.paths import inside_volume, shard_path
from fusionrun_stages.work import Made, Work

EXAMPLES = 5
"""Number of unknown verdicts in the manifest."""


def run(work: Work) -> Made:
    """Write ``verdicts/NNNNN-of-NNNNN.parquet``, sorted by prompt, source and sample."""
    parameters = work.task.parameters
    assert isinstance(parameters, VerifyParameters)
    shard = work.shard or 0
    prompts = shard_path(parameters.prompts_dir, shard, parameters.shards)
    responses = shard_path(parameters.responses_dir, shard, parameters.shards)
    joined = join_responses(read_rows(prompts, Prompt), read_rows(responses, Response), parameters.datasets)
    path = shard_path(work.output / VERDICTS, shard, parameters.shards)
    total, tally = _count_rows(responses), VerdictCounts()
    with open_rows(path, Verdict) as writer:
        for batch in make_batches(joined):
            for row in judge(parameters.grader, batch):
                writer.append(row)
                tally.add(row)
            work.report(writer.count, total, "responses")
    return Made(
        values=Verified(**{value.value: tally.verdicts[value] for value in VerdictValue}),
        files=[str(path.relative_to(work.output))],
        details=tally.details() | isolation_details(parameters.grader, writer.count),
    )


class VerdictCounts:
    """Verdicts by value and reason."""

    def __init__(self) -> None:
        self.verdicts: Counter[VerdictValue] = Counter()
        self._reasons: Counter[str] = Counter()
        self._unknown: list[Verdict] = []

    def add(self, row: Verdict) -> None:
        """Count a verdict and its reason."""
        self.verdicts[row.verdict] += 1
        if row.detail:
            self._reasons[row.detail.split(":")[0]] += 1
        if row.verdict is VerdictValue.UNKNOWN and len(self._unknown) < EXAMPLES:
            self._unknown.append(row)

    def details(self) -> dict[str, Any]:
        """Return the reasons and the first unknown verdicts, for the manifest."""
        examples = [row.model_dump(mode="json") for row in self._unknown]
        return {"reasons": dict(self._reasons.most_common(20)), "unknown": examples}


def _count_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(inside_volume(path)).num_rows)
