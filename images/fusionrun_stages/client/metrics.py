"""The ``/metrics`` endpoint of a client: requests, stored rows, tokens, throughput and time left.

Values are read at each scrape. They include the rows that earlier pods of the shard stored.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusionrun_stages.client.counts import RequestCounts, Throughput

if TYPE_CHECKING:  # the test of the dashboards reads the names of the metrics without httpx
    from fusionrun_stages.client.server import ModelServer

STATUS_CODES = (0, 200, 429, 503)
"""Exported from the start, so that ``rate`` counts the first request of each; others when they occur."""


@dataclass
class ClientMetrics:
    """Values of the metrics at one scrape."""

    requests: dict[int, int] = field(default_factory=dict)
    """Requests sent by HTTP status; 0: no reply."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows stored by finish reason: ``stop``, ``length`` or ``error``."""
    tokens: dict[str, int] = field(default_factory=dict)
    """``prompt`` and ``completion`` tokens."""
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    slots: dict[str, int] = field(default_factory=dict)
    """``busy``: requests in flight; ``limit``: their maximum."""
    quota_left: Mapping[str, float] = field(default_factory=dict)
    """Part of each limit of the endpoint's quota that is not used up, 0 to 1."""


def client_metrics(
    server: "ModelServer", counts: RequestCounts, rate: Throughput, total: int, quota_left: Mapping[str, float]
) -> ClientMetrics:
    """Return the values for ``/metrics``; ``total``: rows to store."""
    mean = counts.completion_tokens / counts.answered if counts.answered else 0.0
    recent = rate.recent
    return ClientMetrics(
        requests=dict.fromkeys(STATUS_CODES, 0) | server.sent,
        rows={
            "stop": counts.answered - counts.truncated,
            "length": counts.truncated,
            "error": counts.rows - counts.answered,
        },
        tokens={"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        tokens_per_second=recent,
        eta_seconds=max(0, total - counts.rows) * mean / recent if recent else None,
        slots={"busy": server.concurrency.in_flight, "limit": server.concurrency.limit},
        quota_left=quota_left,
    )


class MetricsCollector:
    """Converts ``ClientMetrics`` to Prometheus metric families, ``fusionrun_<stage>_…``.

    ``subject``: the source of ``generate``, or the model whose responses are judged, as the label ``source``.
    """

    def __init__(self, stage: str, subject: str, read: Callable[[], ClientMetrics], rows: str = "samples") -> None:
        self._prefix = f"fusionrun_{stage}"
        self._subject = subject
        self._read = read
        self._rows = rows

    def collect(self) -> Iterator[Any]:
        """Yield every family; the first label is the source."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        current, prefix = self._read(), self._prefix
        counters = (
            ("requests", "Requests sent, by HTTP status; 0: no reply.", "code", current.requests),
            (
                self._rows,
                f"{self._rows.capitalize()} stored, by finish reason, errors included.",
                "finish_reason",
                current.rows,
            ),
            ("tokens", f"Tokens of the stored {self._rows}.", "kind", current.tokens),
        )
        for name, text, label, values in counters:
            family = CounterMetricFamily(f"{prefix}_{name}", text, labels=["source", label])
            for value, count in sorted(values.items()):
                family.add_metric([self._subject, str(value)], count)
            yield family
        labelled = (
            ("slots", "Requests in flight.", "state", current.slots),
            (
                "quota_left_ratio",
                "Part of the quota that this shard may still use, 0 to 1.",
                "limit",
                current.quota_left,
            ),
        )
        for name, text, label, numbers in labelled:
            family = GaugeMetricFamily(f"{prefix}_{name}", text, labels=["source", label])
            for value, amount in sorted(numbers.items()):
                family.add_metric([self._subject, value], amount)
            yield family
        gauges = (
            ("tokens_per_second", "Recent completion tokens per second.", current.tokens_per_second),
            ("eta_seconds", "Estimated seconds until the shard is complete.", current.eta_seconds),
        )
        for name, text, number in gauges:
            family = GaugeMetricFamily(f"{prefix}_{name}", text, labels=["source"])
            if number is not None:
                family.add_metric([self._subject], number)
            yield family


@contextmanager
def serve_metrics(port: str | None, collector: MetricsCollector) -> Iterator[None]:
    """Serve ``/metrics`` inside the block; do nothing without a port."""
    if not port:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(int(port), registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
