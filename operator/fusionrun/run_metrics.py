"""The Prometheus metrics of the runs, read from their statuses at each scrape: a deleted run has no series."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.records import MICRO
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.status.conditions import ConditionStatus, ConditionType, Reason
from fusionrun.api.status.results import BenchmarkResult, DatasetSummary, ModelDifference, ModelScore
from fusionrun.api.status.run import FusionRunStatus, read_status
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.api.tasks.protocol import Unit
from fusionrun.state.observe.object_fields import parse_time
from fusionrun.state.report.stage_status import ACTIVE

RUN_STATES = ("Pending", "Running", "Suspended", "Complete", "Failed")

_Sample = tuple[str, list[str], float | int | None]
"""Family, label values, and value; None for no sample."""

_RUN = ("namespace", "name")
_STAGE = (*_RUN, "stage")
_COST = (*_STAGE, "currency")
_SCORE = (*_RUN, "benchmark", "model", "unit")
_DELTA = (*_RUN, "benchmark", "model", "against", "unit")

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_info": ("A run, with its recipe and target family.", (*_RUN, "uid", "recipe", "target_family")),
    "fusionrun_created_timestamp_seconds": ("Unix creation timestamp of the run.", _RUN),
    "fusionrun_completion_timestamp_seconds": ("Unix timestamp at which the run ended.", _RUN),
    "fusionrun_status_condition": ("1 for the current status of a condition, else 0.", (*_RUN, "condition", "status")),
    "fusionrun_runs": ("Number of runs by state.", ("namespace", "state")),
    "fusionrun_stages": ("Number of stages of all runs by kind and state.", ("namespace", "kind", "state")),
    "fusionrun_stage_start_timestamp_seconds": ("Unix timestamp at which a stage started.", _STAGE),
    "fusionrun_stage_end_timestamp_seconds": ("Unix timestamp at which a stage ended.", (*_STAGE, "state")),
    "fusionrun_stage_pods_pending": (
        "1 if no pod of an active stage runs, 0 if one does or if another run makes the artifact.",
        _STAGE,
    ),
    "fusionrun_stage_progress_ratio": ("Progress of a stage, 0 to 1.", _STAGE),
    "fusionrun_stage_tokens_per_second": ("Tokens per second of an active stage.", _STAGE),
    "fusionrun_stage_eta_seconds": ("Estimated seconds until an active stage ends.", _STAGE),
    "fusionrun_stage_cost": ("Cost of a stage's external endpoint.", _COST),
    "fusionrun_stage_gpu_cost": ("Cost of a stage's GPUs.", _COST),
    "fusionrun_stage_peak_memory_bytes": ("Largest resident memory of one pod of a stage.", _STAGE),
    "fusionrun_training_loss": ("Latest loss of an active training.", _STAGE),
    "fusionrun_training_final_loss": ("Loss of a stage that has ended: the last one, or that of promote.", _STAGE),
    "fusionrun_training_gradient_norm": ("Latest norm of the gradient of an active training before clipping.", _STAGE),
    "fusionrun_training_mfu_ratio": ("Share of the GPUs' peak FLOP/s that an active training uses, 0 to 1.", _STAGE),
    "fusionrun_reward_accuracy_ratio": ("Latest reward accuracy of an active DPO, 0 to 1.", _STAGE),
    "fusionrun_reward_final_accuracy_ratio": (
        "Reward accuracy of a stage that has ended, 0 to 1: the last one, or that of promote.",
        _STAGE,
    ),
    "fusionrun_reward_margin": (
        "Latest mean difference of the rewards of chosen and rejected in an active DPO.",
        _STAGE,
    ),
    "fusionrun_benchmark_score": ("Score of a model on a benchmark.", _SCORE),
    "fusionrun_benchmark_score_bound": ("Bound of the 95 % interval of a score.", (*_SCORE, "bound")),
    "fusionrun_benchmark_delta": ("Difference of two models on a benchmark.", _DELTA),
    "fusionrun_benchmark_delta_bound": ("Bound of the 95 % interval of a difference.", (*_DELTA, "bound")),
    "fusionrun_dataset_rows": ("Rows of the constructed data set.", (*_RUN, "kind")),
    "fusionrun_dataset_dropped_prompts": ("Prompts that construct dropped.", (*_RUN, "reason")),
    "fusionrun_dataset_source_rows": ("Rows of the constructed data set by source.", (*_RUN, "source", "kind")),
    "fusionrun_dataset_win_ratio": ("Share of contested prompts that a source answers best.", (*_RUN, "source")),
    "fusionrun_dataset_truncated_ratio": ("Share of responses truncated at their token limit.", _RUN),
    "fusionrun_dataset_margin_mean": ("Mean reward difference of the pairs to which a margin applies.", _RUN),
    "fusionrun_gpus_in_use": ("GPUs of a run's pods that are bound to a node and have not ended.", _RUN),
}

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusionrun_gpu_seconds": ("GPU seconds used by a run.", _RUN),
    "fusionrun_cost": ("Cost of a run: of its GPUs and its endpoints.", (*_RUN, "currency")),
}


@dataclass(frozen=True)
class RunSamples:
    """What a scrape returns for one version of a run."""

    namespace: str
    state: str
    stages: tuple[tuple[str, str, str], ...]
    """Namespace, kind and state of each stage."""
    samples: tuple[tuple[str, list[str], float], ...]
    """Family, labels and value."""

    @classmethod
    def of(cls, run: Manifest, currency: str) -> "RunSamples":
        """Read the status of a run."""
        status, namespace = read_status(run.get("status")), run["metadata"]["namespace"]
        stages = tuple((namespace, names.stage_kind(stage.name), str(stage.state)) for stage in status.stages)
        samples = _of_run(run, status, currency)
        known = tuple((family, labels, float(value)) for family, labels, value in samples if value is not None)
        return cls(namespace, run_state(status), stages, known)


class RunCollector:
    """Reads the statuses of the runs at each scrape. A status that has not changed is not parsed again.

    ``currency``: that of all prices, as a label of the costs; empty if it is not known.
    """

    def __init__(self, runs: Callable[[], Iterable[Manifest]], currency: str) -> None:
        self._runs = runs
        self._currency = currency
        self._parsed: dict[tuple[str, ...], RunSamples] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the families of ``GAUGES`` and ``COUNTERS``."""
        families: dict[str, Any] = {
            name: GaugeMetricFamily(name, doc, labels=labels) for name, (doc, labels) in GAUGES.items()
        }
        families |= {name: CounterMetricFamily(name, doc, labels=labels) for name, (doc, labels) in COUNTERS.items()}
        runs = self._read()
        states = Tally((run.namespace, run.state) for run in runs)
        for namespace in sorted({run.namespace for run in runs}):
            for state in RUN_STATES:
                families["fusionrun_runs"].add_metric([namespace, state], states[namespace, state])
        stages = Tally(stage for run in runs for stage in run.stages)
        for stage, count in stages.items():
            families["fusionrun_stages"].add_metric([*stage], count)
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
            parsed[key] = (self._parsed.get(key) if version else None) or RunSamples.of(run, self._currency)
        self._parsed = parsed
        return list(parsed.values())


def run_state(status: FusionRunStatus) -> str:
    """Return the one of ``RUN_STATES`` that a run is in, by its conditions."""
    true = {c.type for c in status.conditions if c.status is ConditionStatus.TRUE}
    for condition in (ConditionType.FAILED, ConditionType.COMPLETE, ConditionType.SUSPENDED):
        if condition in true:
            return str(condition)
    return "Running" if status.start_time else "Pending"


def _timestamp(text: str | None) -> float | None:
    time = parse_time(text)
    return time.timestamp() if time else None


def _of_run(run: Manifest, status: FusionRunStatus, currency: str) -> Iterator[_Sample]:
    metadata, spec = run["metadata"], run.get("spec") or {}
    labels = [metadata["namespace"], metadata["name"]]
    family = (spec.get("target") or {}).get("family", "")
    yield "fusionrun_info", [*labels, metadata.get("uid", ""), spec.get("recipe", "FuseChat-3.0"), family], 1
    yield "fusionrun_created_timestamp_seconds", labels, _timestamp(metadata.get("creationTimestamp"))
    yield "fusionrun_completion_timestamp_seconds", labels, _timestamp(status.completion_time)
    yield "fusionrun_gpus_in_use", labels, status.gpus_in_use
    yield "fusionrun_gpu_seconds", labels, status.gpu_seconds or 0
    if status.cost_micro is not None:
        yield "fusionrun_cost", [*labels, currency], status.cost_micro / MICRO
    for condition in (run.get("status") or {}).get("conditions") or ():  # also those of other controllers
        for value in ConditionStatus:
            current = int(condition["status"] == value)
            yield "fusionrun_status_condition", [*labels, condition["type"], value.lower()], current
    for stage in status.stages:
        yield from _of_stage([*labels, stage.name], stage, currency)
    for result in status.results:
        yield from _of_benchmark([*labels, result.benchmark], result)
    if status.dataset:
        yield from _of_dataset(labels, status.dataset)


def _of_stage(labels: list[str], stage: StageStatus, currency: str) -> Iterator[_Sample]:
    if stage.state in ACTIVE:
        stopped = stage.state is StageState.RUNNING and stage.reason == Reason.OBJECT_CHANGED
        waits = stopped or stage.reason in (Reason.PODS_PENDING, Reason.QUEUED)
        yield "fusionrun_stage_pods_pending", labels, int(waits)
        yield from _while_active(labels, stage)
    elif stage.reason == Reason.WAITING_FOR_ARTIFACT:  # no pods of the run need to run
        yield "fusionrun_stage_pods_pending", labels, 0
    else:
        yield "fusionrun_training_final_loss", labels, stage.loss
        yield "fusionrun_reward_final_accuracy_ratio", labels, stage.reward_accuracy
    yield "fusionrun_stage_start_timestamp_seconds", labels, _timestamp(stage.start_time)
    yield "fusionrun_stage_end_timestamp_seconds", [*labels, str(stage.state)], _timestamp(stage.end_time)
    if stage.progress and stage.progress.total:
        yield "fusionrun_stage_progress_ratio", labels, stage.progress.done / stage.progress.total
    if stage.cost_micro:
        yield "fusionrun_stage_cost", [*labels, currency], stage.cost_micro / MICRO
    if stage.gpu_cost_micro:
        yield "fusionrun_stage_gpu_cost", [*labels, currency], stage.gpu_cost_micro / MICRO
    yield "fusionrun_stage_peak_memory_bytes", labels, stage.peak_memory_bytes


def _while_active(labels: list[str], stage: StageStatus) -> Iterator[_Sample]:
    """Yield what pods push. The status keeps the last values, which are no longer true once the stage has ended."""
    yield "fusionrun_stage_tokens_per_second", labels, stage.tokens_per_second
    yield "fusionrun_stage_eta_seconds", labels, stage.eta_seconds
    yield "fusionrun_training_loss", labels, stage.loss
    yield "fusionrun_training_gradient_norm", labels, stage.gradient_norm
    yield "fusionrun_training_mfu_ratio", labels, stage.model_flops_utilization
    yield "fusionrun_reward_accuracy_ratio", labels, stage.reward_accuracy
    yield "fusionrun_reward_margin", labels, stage.reward_margin


def _of_benchmark(labels: list[str], result: BenchmarkResult) -> Iterator[_Sample]:
    unit = result.unit or Unit.PERCENT.value  # that of all scores of release 0.2.0
    scores = {model: getattr(result, model) for model in EvaluatedModel} | {s.model: s.score for s in result.scores}
    for model, score in scores.items():
        yield "fusionrun_benchmark_score", [*labels, model, unit], score
    for each in result.scores:
        yield from _bounds("fusionrun_benchmark_score_bound", [*labels, each.model, unit], each)
    for difference in result.differences:
        pair = [*labels, difference.model, difference.against, unit]
        yield "fusionrun_benchmark_delta", pair, difference.delta
        yield from _bounds("fusionrun_benchmark_delta_bound", pair, difference)


def _bounds(family: str, labels: list[str], interval: ModelScore | ModelDifference) -> Iterator[_Sample]:
    yield family, [*labels, "lower"], interval.lower
    yield family, [*labels, "upper"], interval.upper


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
