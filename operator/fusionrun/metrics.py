"""The Prometheus metrics of the operator, named by the conventions of kube-state-metrics.

Requests, reconciles and transitions are counted when they happen. ``run_metrics`` has those of the runs.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.aiohttp import make_aiohttp_handler

from fusionrun import __version__, names
from fusionrun.api.contract import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.status.stages import StageState
from fusionrun.run_metrics import COUNTERS, GAUGES, RunCollector
from fusionrun.state.observe.object_fields import parse_time
from fusionrun.state.observe.object_ref import ObjectRef

logger = logging.getLogger(__name__)

RECONCILE_RESULTS = ("success", "error")
_ENDED = (StageState.SUCCEEDED, StageState.FAILED)
_PROGRESS_CODES = (204, 400, 403, 404, 408, 413, 429)
"""Replies of ``fusionrun.progress``."""


class Metrics:
    """The metrics of one operator process, in a separate registry.

    Parameters
    ----------
    runs
        Returns every FusionRun.
    currency
        Currency of all prices; empty if it is not known.

    Notes
    -----
    A series whose labels are known exists with the value 0 from the start. Otherwise ``rate`` and ``increase`` miss its
    first event. Source: Prometheus, "Instrumentation", "Avoid missing metrics".
    """

    def __init__(self, runs: Callable[[], Iterable[Manifest]], currency: str = "") -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(RunCollector(runs, currency))
        Gauge(
            "fusionrun_build_info", "1, with the version of the operator.", ["version"], registry=self.registry
        ).labels(__version__).set(1)
        self.reconcile_seconds = Histogram(
            "fusionrun_reconcile_duration_seconds",
            "Duration of a reconcile.",
            ["result"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
            registry=self.registry,
        )
        for result in RECONCILE_RESULTS:
            self.reconcile_seconds.labels(result)
        self.transition_seconds = Histogram(
            "fusionrun_transition_seconds",
            "Time from the watch event that caused a reconcile, or from the change if that is over a second older, "
            "to the reply for the objects that it created.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "fusionrun_stage_duration_seconds",
            "Duration of a stage.",
            ["kind", "state"],
            buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 259200),
            registry=self.registry,
        )
        for kind in StageKind:
            for state in _ENDED:
                self.stage_seconds.labels(kind, state)
        self.api_requests = Counter(
            "fusionrun_api_requests_total",
            "Requests to the API server by HTTP status; 0 without a reply.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "fusionrun_api_request_duration_seconds",
            "Duration of a request to the API server.",
            ["verb", "kind"],
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
            registry=self.registry,
        )
        self.watch_last_event = Gauge(
            "fusionrun_watch_last_event_timestamp_seconds",
            "Unix timestamp of the last watch event of a kind.",
            ["kind"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "fusionrun_leader",
            "1 if this operator acts, 0 if it waits because another one does.",
            registry=self.registry,
        )
        self.namespace_listed = Gauge(
            "fusionrun_watched_namespace_listed",
            "1 if the objects of a watched namespace (empty: all) could be listed, 0 if the API server forbids it.",
            ["watched_namespace"],
            registry=self.registry,
        )
        self.progress_pushes = Counter(
            "fusionrun_progress_pushes_total",
            "Progress pushed by pods, by HTTP status of the reply.",
            ["code"],
            registry=self.registry,
        )
        for code in _PROGRESS_CODES:
            self.progress_pushes.labels(str(code))

    def listed(self, namespace: str, ok: bool) -> None:  # noqa: FBT001 -- a callback
        """Record whether the objects of a watched namespace could be listed."""
        self.namespace_listed.labels(namespace).set(ok)

    def request_sent(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self.api_requests.labels(verb, kind, str(code)).inc()
        self.api_seconds.labels(verb, kind).observe(seconds)

    def reconciled(self, result: str, seconds: float) -> None:
        """Observe the duration of a reconcile."""
        self.reconcile_seconds.labels(result).observe(seconds)

    def progress_pushed(self, code: int) -> None:
        """Count progress that a pod pushed."""
        self.progress_pushes.labels(str(code)).inc()

    def transition(self, run: ObjectRef, woken_at: float, made: Sequence[Manifest]) -> None:
        """Observe and log the time from the watch event, in monotonic seconds, to the creation of objects."""
        seconds = time.monotonic() - woken_at
        self.transition_seconds.observe(seconds)
        names = [f"{m['kind']}/{m['metadata']['name']}" for m in made]
        fields = {"run": f"{run.namespace}/{run.name}", "watched_at": time.time() - seconds, "made": names}
        logger.info("transition in %.0f ms", 1000 * seconds, extra=fields)

    def status_changed(self, before: FusionRunStatus, after: FusionRunStatus) -> None:
        """Observe the duration of every stage that ended between two states of a run."""
        ended_before = {s.name for s in before.stages if s.state in _ENDED}
        for stage in after.stages:
            started, ended = parse_time(stage.start_time), parse_time(stage.end_time)
            if stage.state in _ENDED and stage.name not in ended_before and started and ended:
                self.stage_seconds.labels(names.stage_kind(stage.name), stage.state).observe(
                    (ended - started).total_seconds()
                )

    def names(self) -> set[str]:
        """Return the names of all series that a scrape can return."""
        families = {*GAUGES, *(f"{name}_total" for name in COUNTERS)}
        for family in self.registry.collect():
            suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
            families |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
        return families

    def application(self) -> web.Application:
        """Return the web application that serves ``/metrics``."""
        application = web.Application()
        application.router.add_get("/metrics", make_aiohttp_handler(self.registry))
        return application
