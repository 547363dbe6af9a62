"""The ``/metrics`` endpoint of a generation client: requests, samples, tokens, throughput and time left by source.

Values are read at each scrape. They include the responses that earlier pods of the shard stored.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ClientMetrics:
    """Values of the metrics at one scrape."""

    requests: dict[int, int] = field(default_factory=dict)
    """Requests sent by HTTP status; 0: no reply."""
    samples: dict[str, int] = field(default_factory=dict)
    """Samples stored by finish reason: ``stop``, ``length`` or ``error``."""
    tokens: dict[str, int] = field(default_factory=dict)
    """``prompt`` and ``completion`` tokens."""
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    slots: dict[str, int] = field(default_factory=dict)
    """``busy``: requests in flight; ``limit``: their maximum."""


class MetricsCollector:
    """Converts ``ClientMetrics`` to Prometheus metric families."""

    def __init__(self, source: str, read: Callable[[], ClientMetrics]) -> None:
        self._source = source
        self._read = read

    def collect(self) -> Iterator[Any]:
        """Yield every family; the first label is the source."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        current = self._read()
        counters = (
            ("requests", "Requests sent, by HTTP status; 0: no reply.", "code", current.requests),
            ("samples", "Samples stored, by finish reason, errors included.", "finish_reason", current.samples),
            ("tokens", "Tokens of the stored samples.", "kind", current.tokens),
        )
        for name, text, label, values in counters:
            family = CounterMetricFamily(f"fusionrun_generate_{name}", text, labels=["source", label])
            for value, count in sorted(values.items()):
                family.add_metric([self._source, str(value)], count)
            yield family
        family = GaugeMetricFamily("fusionrun_generate_slots", "Requests in flight.", labels=["source", "state"])
        for state, count in sorted(current.slots.items()):
            family.add_metric([self._source, state], count)
        yield family
        gauges = (
            ("tokens_per_second", "Recent completion tokens per second.", current.tokens_per_second),
            ("eta_seconds", "Estimated seconds until the shard is complete.", current.eta_seconds),
        )
        for name, text, number in gauges:
            family = GaugeMetricFamily(f"fusionrun_generate_{name}", text, labels=["source"])
            if number is not None:
                family.add_metric([self._source], number)
            yield family


@contextmanager
def serve_metrics(port: str | None, source: str, read: Callable[[], ClientMetrics]) -> Iterator[None]:
    """Serve ``/metrics`` inside the block; do nothing without a port."""
    if not port:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(MetricsCollector(source, read))
    server, thread = start_http_server(int(port), registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
