"""Ask a source's server for every sample of a shard's prompts; what is stored is never asked again.

Rows are appended to ``parts/shard-NNNNN.<pod uid>.jsonl.part`` as they come; a successor reads every
predecessor's part and asks only for what is missing. A finished shard is ``responses/NNNNN-of-NNNNN.parquet``,
sorted by prompt and sample.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fusionrun.api.artifacts import PARTS, RESPONSES
from fusionrun.api.models import Prices
from fusionrun.api.parameters import GenerateParameters
from fusionrun.api.pod import METRICS_PORT_ENV
from fusionrun.api.records import Prompt, Response
from fusionrun.api.values import Generated
from fusionrun_stages.client.chat import Chat, adapt
from fusionrun_stages.client.metrics import Numbers, served
from fusionrun_stages.client.quota import Limits, cost_micro
from fusionrun_stages.client.server import watch
from fusionrun_stages.client.stored_responses import Sample, Stored
from fusionrun_stages.errors import InfrastructureError, StageError, UserError
from fusionrun_stages.grading.reference_solutions import failed_prompts
from fusionrun_stages.volume.json_lines import JsonLines
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)

SYNC_SECONDS = 5.0
"""A machine that dies loses at most the rows of so long; a killed process loses none."""
RATE_SECONDS = 10.0
"""Tokens per second are those of so long a time."""
GROUP_SAMPLES = 16
"""Most samples of a prompt in one request. Together they are tokenised, queued and sent once: measured, four at
a time gave twice the tokens per second of one at a time with a tiny model on two cores."""
REFUSALS_ENOUGH = 64
"""So many requests refused, and not one answered, are taken for all."""


@dataclass
class Tally:
    """What is stored, by this pod and its predecessors."""

    rows: int = 0
    answered: int = 0
    refused: int = 0
    """Requests that got a 4xx."""
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_error: str = ""
    asked: int = 0
    """Samples stored or asked for."""
    spent: str = ""
    """What of the quota is used up."""

    def add(self, row: Response) -> None:
        """Count one row."""
        self.rows += 1
        self.answered += row.error is None
        self.refused += (row.error or "").startswith("4")
        self.truncated += row.finish_reason == "length"
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.last_error = row.error or self.last_error

    def cost_micro(self, prices: Prices | None) -> int:
        """Return what is stored has cost, in millionths."""
        return cost_micro(prices, self.prompt_tokens, self.completion_tokens)

    def quota_reached(self, limits: Limits, prices: Prices | None) -> str:
        """Say what of the quota is used up, if anything is: nothing more may be asked for then."""
        tokens = self.prompt_tokens + self.completion_tokens
        self.spent = self.spent or limits.reached(self.asked, tokens, self.cost_micro(prices))
        return self.spent


@dataclass
class Rate:
    """Tokens per second of late and in all."""

    start: float = field(default_factory=time.monotonic)
    tokens: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, tokens: int) -> None:
        """Count tokens that came just now."""
        self.tokens += tokens
        now = time.monotonic()
        self.marks.append((now, self.tokens))
        while self.marks[0][0] < now - RATE_SECONDS:
            self.marks.popleft()

    @property
    def late(self) -> float:
        """Tokens per second of the last ``RATE_SECONDS``."""
        now, (then, before) = time.monotonic(), self.marks[0] if self.marks else (self.start, 0)
        return (self.tokens - before) / (now - then) if now > then else 0.0

    @property
    def mean(self) -> float:
        """Tokens per second since the start."""
        return self.tokens / max(time.monotonic() - self.start, 1e-9)


@dataclass(frozen=True)
class Todo:
    """What is to be asked for."""

    requests: Iterator[tuple[Prompt, range]]
    count: int
    """Of the requests."""
    total: int
    """Samples of the shard, with those that are stored."""


def run(work: Work) -> Made:
    """Generate one shard."""
    parameters = work.task.parameters
    assert isinstance(parameters, GenerateParameters)
    shard = work.shard or 0
    final = shard_path(work.output / RESPONSES, shard, parameters.shards)
    parts = work.output / PARTS
    tally = Tally()
    stored = Stored(final, _parts(parts, shard))
    for row in stored.index():
        tally.add(row)
    requests = asked = 0
    for _, samples in wanted(parameters, shard, stored):
        requests += 1
        asked += len(samples)
    log.info("%s: %d samples stored already, %d to ask for", parameters.source, len(stored), asked)
    total = len(stored) + asked
    rate = Rate()
    tally.asked = tally.rows
    if requests:
        path = parts / f"shard-{shard:05d}.{work.pod_uid}.jsonl.part"
        asyncio.run(
            ask_all(
                parameters,
                Todo(wanted(parameters, shard, stored), requests, total),
                Limits.of(parameters.quota, parameters.shards, shard),
                JsonLines(path),
                tally,
                rate,
                lambda: _report(work, tally, rate, total, parameters.prices),
            )
        )
    if tally.spent:
        raise UserError(
            f"sources[{parameters.source}].endpoint.quota.{tally.spent}: used up with {tally.rows} of {total} samples "
            "stored: a run with a larger quota goes on from there"
        )
    if total and not tally.answered:
        # Of no use to a successor: a corrected server would never be asked again.
        _forget(parts, shard)
        final.unlink(missing_ok=True)
        message = f"source {parameters.source!r}: not one of {tally.rows} requests was answered: {tally.last_error}"
        raise UserError(message) if tally.refused == tally.rows else InfrastructureError(message)
    if requests:  # what this pod has stored lies in a part of its own
        stored = Stored(final, _parts(parts, shard))
        for _ in stored.index():
            pass
    write_rows(final, Response, stored.in_order())
    _forget(parts, shard)
    return Made(
        values=Generated(
            requests=tally.rows,
            responses=tally.answered,
            truncated=tally.truncated,
            errors=tally.rows - tally.answered,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            cost_micro=tally.cost_micro(parameters.prices) if parameters.prices else None,
            tokens_per_second=round(rate.mean, 3),
        ),
        files=[str(final.relative_to(work.output))],
        details={"asked_by_this_pod": asked, "last_error": tally.last_error},
    )


def wanted(parameters: GenerateParameters, shard: int, done: Stored) -> Iterator[tuple[Prompt, range]]:
    """Yield each request to send: a prompt and samples of it that are not stored."""
    failed = failed_prompts(parameters.solutions_verdicts_dir, shard, parameters.shards)
    for prompt in read_rows(shard_path(parameters.prompts_dir, shard, parameters.shards), Prompt):
        count = 0 if prompt.prompt_id in failed else parameters.samples_per_prompt.get(prompt.dataset, 0)
        for samples in missing(done, prompt.prompt_id, count):
            yield prompt, samples


def missing(done: Container[Sample], prompt_id: str, count: int) -> Iterator[range]:
    """Yield the runs of sample indexes that are not stored, at most ``GROUP_SAMPLES`` long: one request each."""
    start = 0
    for index in range(count + 1):
        stored = index == count or (prompt_id, index) in done
        if (stored or index - start == GROUP_SAMPLES) and index > start:
            yield range(start, index)
            start = index
        if stored:
            start = index + 1


async def ask_all(
    parameters: GenerateParameters,
    todo: Todo,
    limits: Limits,
    lines: JsonLines,
    tally: Tally,
    rate: Rate,
    report: Callable[[], None],
) -> None:
    """Ask for every sample, as many at a time as there are slots, and store each reply as it comes.

    Raises
    ------
    UserError
        If the server refuses whatever it is asked.
    ServerWedgedError
        If the server is wedged.
    """
    port, stack = os.environ.get(METRICS_PORT_ENV), ExitStack()
    api_key = os.environ.get(parameters.api_key_env) if parameters.api_key_env else None

    async def asker(chat: Chat) -> None:
        while not tally.refused == tally.rows >= REFUSALS_ENOUGH:
            async with chat.slots.one():
                prompt_and_samples = next(todo.requests, None)
                if prompt_and_samples is None:
                    return
                prompt, samples = prompt_and_samples
                tally.asked += len(samples)
                if tally.quota_reached(limits, parameters.prices):
                    return
                async for row in chat.ask(prompt, samples):
                    lines.append(row)
                    tally.add(row)
                    rate.add(row.completion_tokens)
            report()

    async def keep_synced() -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(lines.sync)

    try:
        async with Chat(parameters, api_key) as chat, asyncio.TaskGroup() as group:
            stack.enter_context(served(port, parameters.source, lambda: numbers(chat, tally, rate, todo.total)))
            guards = [
                group.create_task(guard)
                for guard in (
                    watch(chat.heartbeat, parameters.stall_seconds, "no token accepted", chat.tokens_generated),
                    keep_synced(),
                    adapt(chat),
                )
            ]
            count = min(parameters.max_concurrency or parameters.concurrency, todo.count)
            await asyncio.wait([group.create_task(asker(chat)) for _ in range(count)])
            for guard in guards:
                guard.cancel()
    except ExceptionGroup as several:
        ours, _ = several.split(StageError)
        raise (ours or several).exceptions[0] from several
    finally:
        stack.close()
        lines.close()
        report()


def numbers(chat: Chat, tally: Tally, rate: Rate, total: int) -> Numbers:
    """Say how far a generation is, for ``/metrics``."""
    errors = tally.rows - tally.answered
    left = total - tally.rows
    mean = tally.completion_tokens / tally.answered if tally.answered else 0.0
    late = rate.late
    return Numbers(
        requests=dict(chat.sent),
        samples={"stop": tally.answered - tally.truncated, "length": tally.truncated, "error": errors},
        tokens={"prompt": tally.prompt_tokens, "completion": tally.completion_tokens},
        tokens_per_second=late,
        eta_seconds=left * mean / late if late else None,
        slots={"busy": chat.slots.busy, "limit": chat.slots.limit},
    )


def _report(work: Work, tally: Tally, rate: Rate, total: int, prices: Prices | None) -> None:
    cost = {"cost_micro": tally.cost_micro(prices)} if prices else {}
    work.report(tally.rows, total, "samples", tokens_per_second=round(rate.late, 1), **cost)


def _parts(parts: Path, shard: int) -> list[Path]:
    return sorted(parts.glob(f"shard-{shard:05d}.*.jsonl.part"))


def _forget(parts: Path, shard: int) -> None:
    for path in _parts(parts, shard):
        path.unlink()
