"""judge: let a model judge the responses of one model to a shard of benchmark questions.

Run: ``FUSIONRUN_TASK=task.json JOB_COMPLETION_INDEX=0 python -m fusionrun_stages judge``

Each reply is appended to ``parts/shard-NNNNN.<pod uid>.jsonl.part`` with the hash of its request. A successor sends
only requests whose replies are not stored; identical requests are sent once. A complete shard is
``judgements/NNNNN-of-NNNNN.parquet``, sorted by question, sample, call and attempt. The protocols (``judges/``) say
what is asked and what the replies mean.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import JUDGEMENTS, PARTS
from fusionrun.api.evaluation_records import Judgement
from fusionrun.api.results.values import Judged
from fusionrun.api.tasks.evaluation import JudgeParameters
from fusionrun_stages.client.counts import JudgementCounts
from fusionrun_stages.client.stored_judgements import StoredJudgements
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.judges.open import open_judge
from fusionrun_stages.judges.requests import (
    JudgedBenchmark,
    JudgedResponse,
    ShardRequests,
    complete_rows,
    judged_responses,
    last_replies,
)
from fusionrun_stages.judges.sender import Sender
from fusionrun_stages.volume.json_lines import part_files, remove_part_files
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

EXAMPLES = 3
EXAMPLE_MAX_CHARACTERS = 500
"""Number and length of unusable replies in the manifest."""


def run(work: Work) -> Made:
    """Judge one shard."""
    parameters = work.parameters(JudgeParameters)
    shard = work.shard or 0
    benchmarks = open_benchmarks(parameters)
    final = shard_path(work.output / JUDGEMENTS, shard, parameters.shards)
    sent = 0
    if not final.is_file():  # otherwise a predecessor was killed before it wrote the manifest
        sent = _judge_shard(work, ShardRequests(parameters, shard, benchmarks), final)
    remove_part_files(work.output / PARTS, shard)
    summary = Summary()
    for judged, rows in _with_rows(judged_responses(parameters, shard, benchmarks), final):
        summary.add(judged, rows)
    counts = summary.counts
    return Made(
        values=Judged(
            judgements=counts.rows,
            unparsed=sum(summary.unparsed.values()),
            errors=counts.rows - counts.answered,
            prompt_tokens=counts.prompt_tokens,
            completion_tokens=counts.completion_tokens,
            cost_micro=counts.cost_micro(parameters.prices) if parameters.prices else None,
        ),
        files=[str(final.relative_to(work.output))],
        details={
            "judge": parameters.model,
            "answered_by": dict(summary.models.most_common(EXAMPLES)),
            "asked_by_this_pod": sent,
            "last_error": counts.last_error,
            "judgements": dict(summary.judgements),
            "unparsed": dict(summary.unparsed),
            "unparsed_examples": summary.examples,
        },
    )


def open_benchmarks(parameters: JudgeParameters) -> dict[str, JudgedBenchmark]:
    """Open the protocols of the benchmarks that are judged, by the name of the benchmark."""
    opened = {}
    for benchmark in parameters.benchmarks:
        protocol = benchmark.protocol
        if protocol is not None and protocol.judge is not None:
            try:
                judge = open_judge(protocol, Path(parameters.materials_dir) / benchmark.name)
            except UserError as error:
                raise UserError(f"evaluation.benchmarks[{benchmark.name}]: {error}") from error
            opened[benchmark.name] = JudgedBenchmark(benchmark.name, judge, protocol.judge, protocol.shows_examples)
    return opened


def _judge_shard(work: Work, requests: ShardRequests, final: Path) -> int:
    """Send the missing requests and write the shard; return the number of replies to them."""
    parameters, shard, parts = requests.parameters, requests.shard, work.output / PARTS
    counts = JudgementCounts()
    with StoredJudgements(part_files(parts, shard)) as stored:
        for row in stored.index():
            counts.add(row)
        before = counts.requested = counts.rows
        calls, missing = _count_calls(requests, stored)
        log.info("%s: %d replies are stored, %d of %d calls are open", parameters.evaluated, before, missing, calls)
        if missing:
            sender = Sender(work, requests, stored, counts, calls, missing)
            asyncio.run(sender.send())
        _raise_unless_useful(counts, parameters, parts, shard)
        write_rows(final, Judgement, complete_rows(requests, stored))
    return counts.rows - before


def _count_calls(requests: ShardRequests, stored: StoredJudgements) -> tuple[int, int]:
    """Return the number of calls, and of those with a missing reply."""
    calls = missing = 0
    for first in requests.first():
        calls += 1
        missing += not len(stored) or any(row is None for _, row in requests.replay(first, stored))
    return calls, missing


def _raise_unless_useful(counts: JudgementCounts, parameters: JudgeParameters, parts: Path, shard: int) -> None:
    """Raise an error if the quota is used up, or if no reply can be used."""
    where = f"evaluation.judge ({parameters.model})"
    if counts.quota_exceeded:
        raise UserError(
            f"{where}: endpoint.quota.{counts.quota_exceeded}: used up with {counts.rows} replies stored: a run with a "
            "larger quota resumes"
        )
    if not counts.rows or (counts.answered and not counts.has_no_text):
        return
    # Remove the stored rows, so that a retry with a corrected judge sends the requests again.
    remove_part_files(parts, shard)
    if counts.answered:
        raise UserError(f"{where}: {counts.explain_blank()}")
    message = f"{where}: none of {counts.rows} requests succeeded: {counts.last_error}"
    raise UserError(message) if counts.rejected == counts.rows else InfrastructureError(message)


@dataclass
class Summary:
    """What the replies of a shard say, over all benchmarks."""

    counts: JudgementCounts = field(default_factory=JudgementCounts)
    judgements: Counter[str] = field(default_factory=Counter)
    """Rows by benchmark."""
    unparsed: Counter[str] = field(default_factory=Counter)
    """Calls without a usable verdict, by benchmark."""
    models: Counter[str] = field(default_factory=Counter)
    """Rows by the judge's own name: more than one if its version changed meanwhile."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The last replies on responses without a usable verdict."""

    def add(self, judged: JudgedResponse, rows: list[Judgement]) -> None:
        """Add the rows of one response, sorted by call and attempt."""
        benchmark, response = judged.benchmark, judged.response
        for row in rows:
            self.counts.add(row)
            if row.model is not None:
                self.models[row.model] += 1
        self.judgements[benchmark.name] += len(rows)
        unparsed = benchmark.protocol.judged(judged.question, response, last_replies(rows)).unparsed
        self.unparsed[benchmark.name] += unparsed
        if unparsed and rows and benchmark.shows_examples and len(self.examples) < EXAMPLES:
            last = rows[-1]
            text = (last.error or last.text)[:EXAMPLE_MAX_CHARACTERS]
            self.examples.append({"benchmark": benchmark.name, "prompt_id": response.prompt_id, "reply": text})


def _with_rows(responses: Iterator[JudgedResponse], final: Path) -> Iterator[tuple[JudgedResponse, list[Judgement]]]:
    """Join responses with their rows in a complete shard; both are sorted by question and sample."""
    groups = groupby(read_rows(final, Judgement), key=lambda row: (row.prompt_id, row.sample_index))
    key, rows = next(groups, (None, iter(())))
    for judged in responses:
        if key == (judged.response.prompt_id, judged.response.sample_index):
            yield judged, list(rows)
            key, rows = next(groups, (None, iter(())))
        else:
            yield judged, []  # it is scored without the judge
