"""A server of chat completions: a retrying client that also reads vLLM's metrics, and adapts to them."""

import asyncio
from typing import Self

import httpx

from fusionrun_stages.client.concurrency import ADAPT_SECONDS, ConcurrencyLimit, QueueLength
from fusionrun_stages.client.retries import RetryingClient

METRICS_SECONDS = 5.0


class ModelServer(RetryingClient):
    """A client of one server; an async context manager.

    ``external``: whether it is an endpoint outside the run. Such a server reports no metrics of vLLM, and proxies
    apply; a server of the run is in the cluster, no proxy of the cluster can reach it, and it may have replicas.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        concurrency: int,
        max_concurrency: int | None,
        reply_max_bytes: int,
        *,
        external: bool,
    ) -> None:
        maximum = max_concurrency or concurrency
        limit = ConcurrencyLimit(concurrency, maximum)
        super().__init__(base_url, api_key, limit, maximum, reply_max_bytes, own=not external)
        self._external = external
        # A separate client: under load all connections of the other one are in use.
        self._metrics = httpx.AsyncClient(timeout=METRICS_SECONDS, trust_env=external)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self._metrics.aclose()

    async def tokens_generated(self) -> float | None:
        """Return vLLM's count of generated tokens; None if the server does not report it."""
        name = "vllm:generation_tokens_total"
        return (await self._read_metrics(name)).get(name)

    async def queue(self) -> QueueLength | None:
        """Return vLLM's running and waiting sequences; None if the server does not report them.

        If several servers share the address, one of them replies. Kubernetes spreads requests evenly, so the queues
        are about equal.
        """
        running, waiting = "vllm:num_requests_running", "vllm:num_requests_waiting"
        values = await self._read_metrics(running, waiting)
        return QueueLength(values[running], values[waiting]) if values.keys() == {running, waiting} else None

    async def adapt_concurrency(self) -> None:
        """Run until cancelled; adapt the number of requests in flight to the server's queue."""
        while True:
            await asyncio.sleep(ADAPT_SECONDS)
            await self.concurrency.adapt(await self.queue())

    async def _read_metrics(self, *names: str) -> dict[str, float]:
        """Return the metrics that a served model reports, each summed over its engines."""
        values: dict[str, float] = {}
        if self._external:
            return values
        try:
            reply = await self._metrics.get(self.url("/metrics"))
            for line in reply.text.splitlines():
                name = line.partition("{")[0].partition(" ")[0]
                if name in names:
                    values[name] = values.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        except (httpx.HTTPError, ValueError):
            return {}
        return values
