"""Send the requests of a shard that are not stored, and store each reply."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from fusionrun.api.artifacts import PARTS
from fusionrun.api.evaluation_records import Judgement
from fusionrun_stages.client.counts import JudgementCounts, QuotaShare, Throughput
from fusionrun_stages.client.judging import JudgeClient
from fusionrun_stages.client.metrics import ClientMetrics, MetricsCollector, client_metrics
from fusionrun_stages.client.sending import send_all
from fusionrun_stages.client.stored_judgements import Asked, StoredJudgements
from fusionrun_stages.judges.requests import Request, ShardRequests
from fusionrun_stages.volume.json_lines import JsonLines, part_file
from fusionrun_stages.work import Work


@dataclass
class Sender:
    """The state of one pod that sends requests."""

    work: Work
    requests: ShardRequests
    stored: StoredJudgements
    counts: JudgementCounts
    """Of the stored rows; the sender adds its own."""
    calls: int
    missing: int
    """Those with a missing reply."""
    complete: int = 0
    rate: Throughput = field(default_factory=Throughput)
    in_flight: dict[Asked, asyncio.Event] = field(default_factory=dict)
    """Requests that were sent; the event: it is stored, or will not be."""

    async def send(self) -> None:
        """Complete every call; stop early if the quota is used up, or if every reply is useless."""
        parameters, shard = self.requests.parameters, self.requests.shard
        api_key = os.environ.get(parameters.api_key_env) if parameters.api_key_env else None
        lines = JsonLines(part_file(self.work.output / PARTS, shard, self.work.pod_uid))
        samplings = [benchmark.sampling for benchmark in self.requests.benchmarks.values()]
        open_calls = self._open_calls()
        count = min(parameters.max_concurrency or parameters.concurrency, self.missing)
        async with JudgeClient(parameters, samplings, api_key) as client:
            workers = [self._work(open_calls, client, lines) for _ in range(count)]
            prices = parameters.prices

            def read() -> ClientMetrics:
                left = self.counts.quota_left(self._quota, prices)
                return client_metrics(client.server, self.counts, self.rate, self.calls, left)

            collector = MetricsCollector("judge", parameters.evaluated, read, "judgements")
            await send_all(client.server, workers, lines, self._report, collector, parameters.stall_seconds)

    def _open_calls(self) -> Iterator[Request]:
        """Yield the first request of each call with a missing reply; count the other calls."""
        for first in self.requests.first():
            if all(row is not None for _, row in self.requests.replay(first, self.stored)):
                self.complete += 1
            else:
                yield first

    async def _work(self, open_calls: Iterator[Request], client: JudgeClient, lines: JsonLines) -> None:
        for first in open_calls:
            request: Request | None = first
            while request is not None:
                row = await self._judgement(request, client, lines)
                if row is None:
                    return
                request = self.requests.next(request, row)
            self.complete += 1
            self._report()

    async def _judgement(self, request: Request, client: JudgeClient, lines: JsonLines) -> Judgement | None:
        """Return the reply to a request, which is sent unless an identical one is; None if it is not to be sent."""
        name = request.name
        while (row := self.stored.find(name)) is None:
            sent = self.in_flight.get(name)
            if sent is None:
                return await self._ask(request, client, lines)
            await sent.wait()
        return row

    async def _ask(self, request: Request, client: JudgeClient, lines: JsonLines) -> Judgement | None:
        """Send a request and store its reply; None if the quota is used up, or if every reply is useless."""
        name = request.name
        settled = self.in_flight[name] = asyncio.Event()
        try:
            async with client.server.concurrency.acquire():
                self.counts.requested += 1
                if self.counts.is_hopeless or self.counts.check_quota(self._quota, self.requests.parameters.prices):
                    return None
                row = request.row(await client.ask(request.body))
                self.stored.append(lines, row)
                self.counts.add(row)
                self.rate.add(row.completion_tokens)
                return row
        finally:
            del self.in_flight[name]
            settled.set()

    @cached_property
    def _quota(self) -> QuotaShare:
        parameters = self.requests.parameters
        return QuotaShare.of(parameters.quota, parameters.shards, self.requests.shard)

    def _report(self) -> None:
        prices = self.requests.parameters.prices
        cost = {"cost_micro": self.counts.cost_micro(prices)} if prices else {}
        numbers = {"tokens_per_second": round(self.rate.recent, 1), **cost}
        self.work.report(self.complete, self.calls, "judged calls", **numbers)
