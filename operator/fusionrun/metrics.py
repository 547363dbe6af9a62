"""Every Prometheus metric of the operator: name, unit, labels, by the conventions of kube-state-metrics.

What happens (requests, reconciles, transitions) is counted where it happens. What *is* (runs, stages, progress,
scores) is read from the runs' own statuses at each scrape, so a deleted run leaves no series behind.
"""

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.records import MICRO
from fusionrun.api.status import ConditionStatus, ConditionType, Reason, StageState
from fusionrun.state.live import ObjectRef

logger = logging.getLogger(__name__)

RUN_STATES = ("Pending", "Running", "Suspended", "Complete", "Failed")
STAGE_STATES = tuple(str(state) for state in StageState)

_RUN = ("namespace", "name")
_ENDED = (StageState.SUCCEEDED, StageState.FAILED)
_AT_WORK = (StageState.RUNNING, StageState.READY)

_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_info": ("A run and what it is.", (*_RUN, "uid", "recipe", "target_family")),
    "fusionrun_created_timestamp_seconds": ("When the run was created, Unix time.", _RUN),
    "fusionrun_status_condition": ("1 for the status that a condition has.", (*_RUN, "condition", "status")),
    "fusionrun_runs": ("Runs by state.", ("state",)),
    "fusionrun_stages": ("Stages of all runs by kind and state.", ("kind", "state")),
    "fusionrun_stage_pods_pending": ("1 while no pod of a stage at work runs, 0 while one does.", (*_RUN, "stage")),
    "fusionrun_stage_progress_ratio": ("How far a stage at work is, 0 to 1.", (*_RUN, "stage")),
    "fusionrun_stage_tokens_per_second": ("Tokens per second of a stage at work.", (*_RUN, "stage")),
    "fusionrun_stage_eta_seconds": ("Seconds that a stage at work still needs.", (*_RUN, "stage")),
    "fusionrun_stage_cost": (
        "What a stage's endpoint has cost so far, in the currency of its prices.",
        (*_RUN, "stage"),
    ),
    "fusionrun_stage_peak_memory_bytes": ("Largest resident memory of one pod of a stage.", (*_RUN, "stage")),
    "fusionrun_training_loss": ("Last loss of a training stage.", (*_RUN, "stage")),
    "fusionrun_reward_accuracy": ("Last reward accuracy of DPO, 0 to 1.", (*_RUN, "stage")),
    "fusionrun_benchmark_score": ("Score of a model on a benchmark, in percent.", (*_RUN, "benchmark", "model")),
    "fusionrun_dataset_rows": ("Rows that construction made.", (*_RUN, "kind")),
    "fusionrun_dataset_dropped_prompts": ("Prompts that construction dropped.", (*_RUN, "reason")),
    "fusionrun_dataset_source_rows": ("Rows that construction made, by source.", (*_RUN, "source", "kind")),
    "fusionrun_dataset_win_ratio": ("Share of the contested prompts that a source won.", (*_RUN, "source")),
    "fusionrun_dataset_truncated_ratio": ("Share of the responses that were cut.", _RUN),
    "fusionrun_dataset_margin_mean": ("Mean reward difference of the pairs that a margin bounds.", _RUN),
    "fusionrun_gpus_in_use": ("GPUs of a run's pods that are bound to a node and have not ended.", _RUN),
}

_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_gpu_seconds": ("GPU seconds that a run has held.", _RUN),
}


class Metrics:
    """The metrics of one operator process, in a registry of their own.

    Parameters
    ----------
    runs
        Returns every FusionRun that is known, with its status.
    """

    def __init__(self, runs: Callable[[], Iterable[Manifest]]) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(RunCollector(runs))
        self.reconcile_seconds = Histogram(
            "fusionrun_reconcile_duration_seconds",
            "From the start of a reconcile to its last write.",
            ["result"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
            registry=self.registry,
        )
        self.transition_seconds = Histogram(
            "fusionrun_transition_seconds",
            "From the watch event that woke a reconcile to the reply for the objects that it made.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "fusionrun_stage_duration_seconds",
            "From a stage's start to its end.",
            ["kind", "state"],
            buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 259200),
            registry=self.registry,
        )
        self.api_requests = Counter(
            "fusionrun_api_requests_total",
            "Requests to the API server; code 0 had no reply.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.api_seconds = Histogram(
            "fusionrun_api_request_duration_seconds",
            "Time of a request to the API server.",
            ["verb", "kind"],
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
            registry=self.registry,
        )
        self.watch_last_event = Gauge(
            "fusionrun_watch_last_event_timestamp_seconds",
            "When the last watch event of a kind came, Unix time.",
            ["kind"],
            registry=self.registry,
        )
        self.progress_pushes = Counter(
            "fusionrun_progress_pushes_total",
            "Progress that pods pushed, by HTTP status of our reply.",
            ["code"],
            registry=self.registry,
        )

    def request_sent(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count a request to the API server."""
        self.api_requests.labels(verb, kind, str(code)).inc()
        self.api_seconds.labels(verb, kind).observe(seconds)

    def transition(self, run: ObjectRef, woken_at: float, made: Sequence[Manifest]) -> None:
        """Observe and log the time since the watch event (monotonic) that led to the objects made."""
        took = time.monotonic() - woken_at
        self.transition_seconds.observe(took)
        names = [f"{m['kind']}/{m['metadata']['name']}" for m in made]
        fields = {"run": f"{run.namespace}/{run.name}", "watched_at": time.time() - took, "made": names}
        logger.info("transition in %.0f ms", 1000 * took, extra=fields)

    def status_changed(self, before: Manifest, after: Manifest) -> None:
        """Observe the duration of every stage that ended between two states of a run."""
        ended_before = {s["name"] for s in _stages(before) if s.get("state") in _ENDED}
        for stage in _stages(after):
            times = stage.get("startTime"), stage.get("endTime")
            if stage.get("state") in _ENDED and stage["name"] not in ended_before and all(times):
                started, ended = (datetime.fromisoformat(str(t)) for t in times)
                kind = names.stage_kind(stage["name"])
                self.stage_seconds.labels(kind, stage["state"]).observe((ended - started).total_seconds())

    def names(self) -> set[str]:
        """Name every series that a scrape can show."""
        families = {*_GAUGES, *(f"{name}_total" for name in _COUNTERS)}
        for family in self.registry.collect():
            suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
            families |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
        return families

    def application(self) -> web.Application:
        """Return the web application that serves ``/metrics``."""
        application = web.Application()
        application.router.add_get("/metrics", make_aiohttp_handler(self.registry))
        return application


class RunCollector:
    """Read the runs' statuses at each scrape."""

    def __init__(self, runs: Callable[[], Iterable[Manifest]]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        """Yield the families of ``_GAUGES`` and ``_COUNTERS``."""
        families: dict[str, Any] = {
            name: GaugeMetricFamily(name, doc, labels=labels) for name, (doc, labels) in _GAUGES.items()
        }
        families |= {name: CounterMetricFamily(name, doc, labels=labels) for name, (doc, labels) in _COUNTERS.items()}
        runs = list(self._runs())
        states = Tally(run_state(run) for run in runs)
        for state in RUN_STATES:
            families["fusionrun_runs"].add_metric([state], states[state])
        stages = Tally((names.stage_kind(s["name"]), s.get("state", "")) for run in runs for s in _stages(run))
        for (kind, state), count in stages.items():
            families["fusionrun_stages"].add_metric([kind, state], count)
        for run in runs:
            for family, labels, value in _of_run(run):
                if value is not None:
                    families[family].add_metric(labels, float(value))
        yield from families.values()


def run_state(run: Manifest) -> str:
    """Return the one of ``RUN_STATES`` that a run is in, by its conditions."""
    status = run.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or [] if c["status"] == ConditionStatus.TRUE}
    for condition in (ConditionType.FAILED, ConditionType.COMPLETE, ConditionType.SUSPENDED):
        if condition in true:
            return str(condition)
    return "Running" if status.get("startTime") else "Pending"


def _stages(run: Manifest) -> list[dict[str, Any]]:
    return (run.get("status") or {}).get("stages") or []


def _of_run(run: Manifest) -> Iterator[tuple[str, list[str], float | int | None]]:
    metadata, spec, status = run["metadata"], run.get("spec") or {}, run.get("status") or {}
    me = [metadata["namespace"], metadata["name"]]
    family = (spec.get("target") or {}).get("family", "")
    yield "fusionrun_info", [*me, metadata.get("uid", ""), spec.get("recipe", "FuseChat-3.0"), family], 1
    if metadata.get("creationTimestamp"):
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        yield "fusionrun_created_timestamp_seconds", me, created.timestamp()
    yield "fusionrun_gpus_in_use", me, status.get("gpusInUse")
    yield "fusionrun_gpu_seconds", me, status.get("gpuSeconds")
    for condition in status.get("conditions") or []:
        for value in ConditionStatus:
            labels = [*me, condition["type"], value.lower()]
            yield "fusionrun_status_condition", labels, int(condition["status"] == value)
    for stage in _stages(run):
        labels = [*me, stage["name"]]
        if stage.get("state") in _AT_WORK:
            yield "fusionrun_stage_pods_pending", labels, int(stage.get("reason") == Reason.PODS_PENDING)
        progress = stage.get("progress") or {}
        if progress.get("total"):
            yield "fusionrun_stage_progress_ratio", labels, progress["done"] / progress["total"]
        yield "fusionrun_stage_tokens_per_second", labels, stage.get("tokensPerSecond")
        yield "fusionrun_stage_eta_seconds", labels, stage.get("etaSeconds")
        if stage.get("costMicro"):
            yield "fusionrun_stage_cost", labels, stage["costMicro"] / MICRO
        yield "fusionrun_stage_peak_memory_bytes", labels, stage.get("peakMemoryBytes")
        yield "fusionrun_training_loss", labels, stage.get("loss")
        yield "fusionrun_reward_accuracy", labels, stage.get("rewardAccuracy")
    for result in status.get("results") or []:
        for model in ("base", "sft", "final"):
            yield "fusionrun_benchmark_score", [*me, result["benchmark"], model], result.get(model)
    yield from _of_dataset(me, status.get("dataset") or {})


def _of_dataset(me: list[str], dataset: dict[str, Any]) -> Iterator[tuple[str, list[str], float | int | None]]:
    for kind, rows in (("sft", "sftRows"), ("pairs", "pairs"), ("held_out_pairs", "heldOutPairs")):
        yield "fusionrun_dataset_rows", [*me, kind], dataset.get(rows)
    for reason, count in (dataset.get("drops") or {}).items():
        yield "fusionrun_dataset_dropped_prompts", [*me, reason], count
    yield "fusionrun_dataset_truncated_ratio", me, dataset.get("truncatedShare")
    yield "fusionrun_dataset_margin_mean", me, dataset.get("meanMargin")
    for source in dataset.get("bySource") or []:
        yield "fusionrun_dataset_source_rows", [*me, source["source"], "sft"], source.get("sftRows")
        yield "fusionrun_dataset_source_rows", [*me, source["source"], "pairs"], source.get("pairs")
        yield "fusionrun_dataset_win_ratio", [*me, source["source"]], source.get("winRate")
