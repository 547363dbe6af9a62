"""``/metrics`` of a generation's client: requests, tokens, errors, speed and time left, by source.

Read at each scrape from what the client counts anyway; what predecessors of this pod had stored is counted, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Numbers:
    """What the client can say of itself at any moment."""

    requests: dict[int, int] = field(default_factory=dict)
    """Requests sent by HTTP status; 0 had no reply."""
    samples: dict[str, int] = field(default_factory=dict)
    """Samples stored by finish reason: ``stop``, ``length`` or ``error``."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Of ``prompt`` and ``completion``."""
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    slots: dict[str, int] = field(default_factory=dict)
    """``busy`` ones, and their ``limit``."""


class Collector:
    """Turns ``Numbers`` into Prometheus families."""

    def __init__(self, source: str, read: Callable[[], Numbers]) -> None:
        self._source = source
        self._read = read

    def collect(self) -> Iterator[Any]:
        """Yield every family, with the source as its first label."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._read()
        counted = (
            ("requests", "Requests sent, by HTTP status; 0 had no reply.", "code", now.requests),
            ("samples", "Samples stored, by finish reason; an error is one, too.", "finish_reason", now.samples),
            ("tokens", "Tokens of the samples stored.", "kind", now.tokens),
        )
        for name, text, label, values in counted:
            family = CounterMetricFamily(f"fusionrun_generate_{name}", text, labels=["source", label])
            for value, count in sorted(values.items()):
                family.add_metric([self._source, str(value)], count)
            yield family
        family = GaugeMetricFamily("fusionrun_generate_slots", "Requests at once.", labels=["source", "state"])
        for state, count in sorted(now.slots.items()):
            family.add_metric([self._source, state], count)
        yield family
        gauges = (
            ("tokens_per_second", "Completion tokens per second of late.", now.tokens_per_second),
            ("eta_seconds", "Seconds that this shard still needs.", now.eta_seconds),
        )
        for name, text, number in gauges:
            family = GaugeMetricFamily(f"fusionrun_generate_{name}", text, labels=["source"])
            if number is not None:
                family.add_metric([self._source], number)
            yield family


@contextmanager
def served(port: str | None, source: str, read: Callable[[], Numbers]) -> Iterator[None]:
    """Serve ``/metrics`` on a port while a generation runs; nowhere when there is none."""
    if not port:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(Collector(source, read))
    server, thread = start_http_server(int(port), registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
