"""The Prometheus metrics of the operator, named by the conventions of kube-state-metrics.

Requests, reconciles and transitions are counted when they happen. The state of runs (stages, progress, scores) is read
from their statuses at each scrape, so a deleted run has no series.
"""

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from fusionrun.api.run_results import DatasetSummary
from fusionrun.api.status import (
    ConditionStatus,
    ConditionType,
    FusionRunStatus,
    Reason,
    StageState,
    StageStatus,
    read_status,
)
from fusionrun.state.observe.object_fields import parse_time
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.report.stage_status import ACTIVE

logger = logging.getLogger(__name__)

RUN_STATES = ("Pending", "Running", "Suspended", "Complete", "Failed")

_Sample = tuple[str, list[str], float | int | None]
"""Family, label values, and value; None for no sample."""

_RUN = ("namespace", "name")
_STAGE = (*_RUN, "stage")
_ENDED = (StageState.SUCCEEDED, StageState.FAILED)

_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_info": ("A run, with its recipe and target family.", (*_RUN, "uid", "recipe", "target_family")),
    "fusionrun_created_timestamp_seconds": ("Unix creation timestamp of the run.", _RUN),
    "fusionrun_status_condition": ("1 for the current status of a condition, else 0.", (*_RUN, "condition", "status")),
    "fusionrun_runs": ("Number of runs by state.", ("state",)),
    "fusionrun_stages": ("Number of stages of all runs by kind and state.", ("kind", "state")),
    "fusionrun_stage_pods_pending": (
        "1 if no pod of an active stage runs, 0 if one does or if another run makes the artifact.",
        _STAGE,
    ),
    "fusionrun_stage_progress_ratio": ("Progress of an active stage, 0 to 1.", _STAGE),
    "fusionrun_stage_tokens_per_second": ("Tokens per second of a stage.", _STAGE),
    "fusionrun_stage_eta_seconds": ("Estimated seconds until an active stage ends.", _STAGE),
    "fusionrun_stage_cost": ("Cost of a stage's external endpoint, in the currency of its prices.", _STAGE),
    "fusionrun_stage_gpu_cost": ("Cost of a stage's GPUs, in the currency of the operator's prices.", _STAGE),
    "fusionrun_stage_peak_memory_bytes": ("Largest resident memory of one pod of a stage.", _STAGE),
    "fusionrun_training_loss": ("Last loss of a training stage.", _STAGE),
    "fusionrun_reward_accuracy": ("Last reward accuracy of DPO, 0 to 1.", _STAGE),
    "fusionrun_benchmark_score": ("Score of a model on a benchmark, in percent.", (*_RUN, "benchmark", "model")),
    "fusionrun_dataset_rows": ("Rows of the constructed data set.", (*_RUN, "kind")),
    "fusionrun_dataset_dropped_prompts": ("Prompts that construct dropped.", (*_RUN, "reason")),
    "fusionrun_dataset_source_rows": ("Rows of the constructed data set by source.", (*_RUN, "source", "kind")),
    "fusionrun_dataset_win_ratio": ("Share of contested prompts that a source answers best.", (*_RUN, "source")),
    "fusionrun_dataset_truncated_ratio": ("Share of responses truncated at their token limit.", _RUN),
    "fusionrun_dataset_margin_mean": ("Mean reward difference of the pairs to which a margin applies.", _RUN),
    "fusionrun_gpus_in_use": ("GPUs of a run's pods that are bound to a node and have not ended.", _RUN),
}

_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_gpu_seconds": ("GPU seconds used by a run.", _RUN),
    "fusionrun_cost": ("Cost of a run: of its GPUs and its endpoints, in the currency of their prices.", _RUN),
}


class Metrics:
    """The metrics of one operator process, in a separate registry; ``runs`` returns every FusionRun."""

    def __init__(self, runs: Callable[[], Iterable[Manifest]]) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(RunCollector(runs))
        self.reconcile_seconds = Histogram(
            "fusionrun_reconcile_duration_seconds",
            "Duration of a reconcile.",
            ["result"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
            registry=self.registry,
        )
        self.transition_seconds = Histogram(
            "fusionrun_transition_seconds",
            "Time from the watch event that caused a reconcile to the reply for the objects that it created.",
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


@dataclass(frozen=True)
class RunSamples:
    """What a scrape returns for one version of a run."""

    state: str
    stages: tuple[tuple[str, str], ...]
    """Kind and state of each stage."""
    samples: tuple[tuple[str, list[str], float], ...]
    """Family, labels and value."""

    @classmethod
    def of(cls, run: Manifest) -> "RunSamples":
        """Read the status of a run."""
        status = read_status(run.get("status"))
        stages = tuple((names.stage_kind(stage.name), str(stage.state)) for stage in status.stages)
        samples = _of_run(run, status)
        known = tuple((family, labels, float(value)) for family, labels, value in samples if value is not None)
        return cls(run_state(status), stages, known)


class RunCollector:
    """Reads the statuses of the runs at each scrape. A status that has not changed is not parsed again."""

    def __init__(self, runs: Callable[[], Iterable[Manifest]]) -> None:
        self._runs = runs
        self._parsed: dict[tuple[str, ...], RunSamples] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the families of ``_GAUGES`` and ``_COUNTERS``."""
        families: dict[str, Any] = {
            name: GaugeMetricFamily(name, doc, labels=labels) for name, (doc, labels) in _GAUGES.items()
        }
        families |= {name: CounterMetricFamily(name, doc, labels=labels) for name, (doc, labels) in _COUNTERS.items()}
        runs = self._read()
        states = Tally(run.state for run in runs)
        for state in RUN_STATES:
            families["fusionrun_runs"].add_metric([state], states[state])
        stages = Tally(stage for run in runs for stage in run.stages)
        for (kind, state), count in stages.items():
            families["fusionrun_stages"].add_metric([kind, state], count)
        for run in runs:
            for family, labels, value in run.samples:
                families[family].add_metric(labels, value)
        yield from families.values()

    def _read(self) -> list[RunSamples]:
        parsed: dict[tuple[str, ...], RunSamples] = {}
        for run in self._runs():
            metadata = run["metadata"]
            version = metadata.get("resourceVersion", "")
            key = (metadata["namespace"], metadata["name"], metadata.get("uid", ""), version)
            parsed[key] = (self._parsed.get(key) if version else None) or RunSamples.of(run)
        self._parsed = parsed
        return list(parsed.values())


def run_state(status: FusionRunStatus) -> str:
    """Return the one of ``RUN_STATES`` that a run is in, by its conditions."""
    true = {c.type for c in status.conditions if c.status is ConditionStatus.TRUE}
    for condition in (ConditionType.FAILED, ConditionType.COMPLETE, ConditionType.SUSPENDED):
        if condition in true:
            return str(condition)
    return "Running" if status.start_time else "Pending"


def _of_run(run: Manifest, status: FusionRunStatus) -> Iterator[_Sample]:
    metadata, spec = run["metadata"], run.get("spec") or {}
    labels = [metadata["namespace"], metadata["name"]]
    family = (spec.get("target") or {}).get("family", "")
    yield "fusionrun_info", [*labels, metadata.get("uid", ""), spec.get("recipe", "FuseChat-3.0"), family], 1
    if metadata.get("creationTimestamp"):
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        yield "fusionrun_created_timestamp_seconds", labels, created.timestamp()
    yield "fusionrun_gpus_in_use", labels, status.gpus_in_use
    yield "fusionrun_gpu_seconds", labels, status.gpu_seconds
    if status.cost_micro is not None:
        yield "fusionrun_cost", labels, status.cost_micro / MICRO
    for condition in (run.get("status") or {}).get("conditions") or ():  # also those of other controllers
        for value in ConditionStatus:
            current = int(condition["status"] == value)
            yield "fusionrun_status_condition", [*labels, condition["type"], value.lower()], current
    for stage in status.stages:
        yield from _of_stage([*labels, stage.name], stage)
    for result in status.results:
        for model in ("base", "sft", "final"):
            yield "fusionrun_benchmark_score", [*labels, result.benchmark, model], getattr(result, model)
    if status.dataset:
        yield from _of_dataset(labels, status.dataset)


def _of_stage(labels: list[str], stage: StageStatus) -> Iterator[_Sample]:
    if stage.state in ACTIVE:
        stopped = stage.state is StageState.RUNNING and stage.reason == Reason.OBJECT_CHANGED
        waits = stopped or stage.reason in (Reason.PODS_PENDING, Reason.QUEUED)
        yield "fusionrun_stage_pods_pending", labels, int(waits)
    elif stage.reason == Reason.WAITING_FOR_ARTIFACT:  # no pods of the run need to run
        yield "fusionrun_stage_pods_pending", labels, 0
    if stage.progress and stage.progress.total:
        yield "fusionrun_stage_progress_ratio", labels, stage.progress.done / stage.progress.total
    yield "fusionrun_stage_tokens_per_second", labels, stage.tokens_per_second
    yield "fusionrun_stage_eta_seconds", labels, stage.eta_seconds
    if stage.cost_micro:
        yield "fusionrun_stage_cost", labels, stage.cost_micro / MICRO
    if stage.gpu_cost_micro:
        yield "fusionrun_stage_gpu_cost", labels, stage.gpu_cost_micro / MICRO
    yield "fusionrun_stage_peak_memory_bytes", labels, stage.peak_memory_bytes
    yield "fusionrun_training_loss", labels, stage.loss
    yield "fusionrun_reward_accuracy", labels, stage.reward_accuracy


def _of_dataset(labels: list[str], dataset: DatasetSummary) -> Iterator[_Sample]:
    rows = {"sft": dataset.sft_rows, "pairs": dataset.pairs, "held_out_pairs": dataset.held_out_pairs}
    for kind, count in rows.items():
        yield "fusionrun_dataset_rows", [*labels, kind], count
    for reason, count in dataset.drops.items():
        yield "fusionrun_dataset_dropped_prompts", [*labels, reason], count
    yield "fusionrun_dataset_truncated_ratio", labels, dataset.truncated_share
    yield "fusionrun_dataset_margin_mean", labels, dataset.mean_margin
    for source in dataset.by_source:
        yield "fusionrun_dataset_source_rows", [*labels, source.source, "sft"], source.sft_rows
        yield "fusionrun_dataset_source_rows", [*labels, source.source, "pairs"], source.pairs
        yield "fusionrun_dataset_win_ratio", [*labels, source.source], source.win_rate
