"""Samples of the operator during a measurement: memory, CPU time, metrics and restarts."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import operator_pod
from kubernetes import client, watch
from usage import PodUsage, Usage

USAGE_SECONDS = 1.0
SCRAPE_SECONDS = 15.0
"""The scrape interval of the chart's ServiceMonitor."""
WATCH_SECONDS = 5
STARTED = "process_start_time_seconds{}"


@dataclass
class Observed:
    """Samples of the operator.

    Attributes
    ----------
    usages
        One per second.
    increase
        The increase of each counter over restarts, without the increase between a scrape and a restart.
    restarts
        The reason of each restart.
    failed_scrapes
        Number of scrapes without an answer.
    """

    usages: list[Usage] = field(default_factory=list)
    increase: Counter[str] = field(default_factory=Counter)
    restarts: list[str] = field(default_factory=list)
    failed_scrapes: int = 0


class Sampler:
    """Samples an operator pod in threads, as a context manager.

    Parameters
    ----------
    pod
        The operator's pod, which must stay the same.
    """

    def __init__(self, pod: Any) -> None:
        self._pod = pod
        self._usage = PodUsage(pod.metadata.uid)
        self._last: operator_pod.Samples = {}
        self._over = threading.Event()
        self.observed = Observed()
        self._threads = [
            threading.Thread(target=self._every, args=(USAGE_SECONDS, self._read_usage)),
            threading.Thread(target=self._every, args=(SCRAPE_SECONDS, self._scrape)),
            threading.Thread(target=self._watch_restarts),
        ]

    def __enter__(self) -> Self:
        self._last = operator_pod.scrape(self._pod)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._read_usage()
        self._scrape()

    def usage(self) -> Usage:
        """Return the usage now."""
        return self._usage.read()

    def _every(self, seconds: float, sample: Callable[[], None]) -> None:
        while not self._over.wait(seconds):
            sample()

    def _read_usage(self) -> None:
        self.observed.usages.append(self._usage.read())

    def _scrape(self) -> None:
        try:
            now = operator_pod.scrape(self._pod)
        except OSError:
            self.observed.failed_scrapes += 1
            return
        before = self._last if now.get(STARTED) == self._last.get(STARTED) else {}
        for name, value in now.items():
            self.observed.increase[name] += value - before.get(name, 0)
        self._last = now

    def _watch_restarts(self) -> None:
        known = _restarts(self._pod)
        metadata = self._pod.metadata
        while not self._over.is_set():
            events = watch.Watch().stream(
                client.CoreV1Api().list_namespaced_pod,
                metadata.namespace,
                field_selector=f"metadata.name={metadata.name}",
                timeout_seconds=WATCH_SECONDS,
            )
            for event in events:
                count = _restarts(event["object"])
                if count > known:
                    ended = event["object"].status.container_statuses[0].last_state.terminated
                    self.observed.restarts += [ended.reason if ended else "unknown"] * (count - known)
                    known = count


def _restarts(pod: Any) -> int:
    return sum(status.restart_count for status in pod.status.container_statuses or [])
