"""Samples of the operator during a measurement: memory, CPU time, metrics and restarts."""

import threading
from collections import Counter
from typing import Any, Self

import operator_pod
import urllib3
from kubernetes import client
from usage import PodUsage, Usage

SAMPLE_SECONDS = 1.0
SAMPLES_PER_SCRAPE = 15
"""The scrape interval of the chart's ServiceMonitor is 15 s."""
STARTED = "process_start_time_seconds{}"


class Sampler:
    """Samples an operator pod in a thread, as a context manager. The pod must stay the same.

    Attributes
    ----------
    rss_peak
        Maximum of the resident memory.
    increase
        The increase of each counter over restarts, without the increase between a scrape and a restart.
    restarts
        The reason of each restart.
    """

    def __init__(self, pod: Any) -> None:
        self._pod = pod
        self._usage = PodUsage(pod.metadata.uid)
        self._before = operator_pod.scrape(pod)
        self._restarts = _container(pod).restart_count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.rss_peak = 0.0
        self.increase: Counter[str] = Counter()
        self.restarts: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.usage()
        self._count_restarts()
        self._scrape()

    def usage(self) -> Usage:
        """Return the usage now."""
        now = self._usage.read()
        self.rss_peak = max(self.rss_peak, now.rss_peak)
        return now

    def _sample(self) -> None:
        number = 0
        while not self._over.wait(SAMPLE_SECONDS):
            number += 1
            self.usage()
            self._count_restarts()
            if number % SAMPLES_PER_SCRAPE == 0:
                self._scrape()

    def _scrape(self) -> None:
        try:
            now = operator_pod.scrape(self._pod)
        except OSError:  # the operator restarts or is busy
            return
        before = self._before if now.get(STARTED) == self._before.get(STARTED) else {}
        for name, value in now.items():
            self.increase[name] += value - before.get(name, 0)
        self._before = now

    def _count_restarts(self) -> None:
        metadata = self._pod.metadata
        try:
            container = _container(client.CoreV1Api().read_namespaced_pod(metadata.name, metadata.namespace))
        except (client.ApiException, urllib3.exceptions.HTTPError):  # the API server is busy
            return
        ended = container.last_state.terminated
        self.restarts += [ended.reason if ended else "unknown"] * (container.restart_count - self._restarts)
        self._restarts = container.restart_count


def _container(pod: Any) -> Any:
    (status,) = pod.status.container_statuses
    return status
