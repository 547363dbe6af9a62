"""How long one stage is expected to take, and what its endpoint costs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from fusionrun.api.published.gpu_models import GpuModel
from fusionrun.api.spec.endpoints import Endpoint, Quota
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.api.status.estimate import Basis
from fusionrun.plan import requests, speeds
from fusionrun.plan.amounts import Amounts, amounts, total_rows
from fusionrun.plan.references import measured_field
from fusionrun.plan.requests import Requests
from fusionrun.plan.stages import JudgeServer, Stage

COMPARED_MODELS = 3
"""Models that ``promote`` loads: the reference model and two checkpoints."""
NO_REQUESTS = Requests()


@dataclass(frozen=True)
class MeasuredSteps:
    """Seconds of an optimizer step on rows of ``maxLength`` tokens, from ``preflight``."""

    sft_seconds: float | None = None
    dpo_seconds: float | None = None


@dataclass(frozen=True)
class PromptCounts:
    """Prompts that ``prepare`` has counted, by data set and by benchmark."""

    datasets: Mapping[str, int] = field(default_factory=dict)
    benchmarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What is known about a run before its stages have run."""

    spec: FusionRunSpec
    parameters: Mapping[str, int | None]
    """Number of parameters by the field of each model; None if it is unknown."""
    measured: MeasuredSteps = MeasuredSteps()
    gpu: GpuModel | None = None
    """The GPUs of the run; None if they are unknown."""
    counted: PromptCounts = field(default_factory=PromptCounts)

    @cached_property
    def amounts(self) -> list[Amounts]:
        """Expected numbers of each data set."""
        return amounts(self.spec, self.counted.datasets)

    @property
    def assumed_gpu(self) -> GpuModel:
        """The GPU that the speeds rest on."""
        return self.gpu or speeds.ASSUMED_GPU

    @property
    def basis(self) -> Basis:
        """What an estimate of GPUs rests on."""
        return Basis.ESTIMATE if self.gpu else Basis.ESTIMATE_FOR_H100


@dataclass(frozen=True)
class Expected:
    """What one stage is expected to need."""

    seconds: float
    basis: Basis
    endpoint_cost: float = 0.0
    """In the currency of the endpoint's prices."""
    exceeds: tuple[str, ...] = ()
    """Limits of the endpoint's quota that end the stage before it is done."""


def model_field(stage: Stage) -> str | None:
    """Return the field of the model on whose size the time of a stage depends; None for stages of other kinds."""
    match stage.kind, stage.subject:
        case StageKind.SERVE, Source(name=name):
            return f"sources[{name}].served.model"
        case StageKind.SERVE, MeasuredModel() as measured:
            return measured_field(measured)
        case StageKind.SERVE, JudgeServer():
            return "evaluation.judge.served.model"
        case StageKind.SCORE, _:
            return "rewardModel.endpoint" if stage.endpoint else "rewardModel.model"
        case (StageKind.SERVE, EvaluatedModel()) | ((StageKind.SFT | StageKind.DPO | StageKind.PROMOTE), _):
            return "target.model"
        case _:
            return None


def expected(stage: Stage, known: Known) -> Expected | None:
    """Return what a stage is expected to need; None if that is unknown, and for stages without GPU and endpoint."""
    if isinstance(stage.endpoint, Endpoint):
        return _called(stage, stage.endpoint, known)
    size = known.parameters.get(model_field(stage) or "") or 0
    if not stage.gpus or (not size and _step(stage, known) is None):
        return None
    match stage.kind:
        case StageKind.SERVE:
            return _served(stage, size, known)
        case StageKind.SFT | StageKind.DPO:
            return _trained(stage, size, known)
        case StageKind.SCORE | StageKind.PROMOTE:
            return _read(stage, size, known)
        case _:
            return None


def _sent(stage: Stage, known: Known) -> Requests:
    """Return the requests that the client of a server, or of an endpoint, sends."""
    match stage.kind, stage.subject:
        case _, Source(name=name):
            return requests.to_source(known.amounts, name)
        case (_, JudgeServer(evaluated=model)) | (StageKind.JUDGE, (EvaluatedModel() | MeasuredModel()) as model):
            return requests.to_judge(known.spec, model, known.counted.benchmarks)
        case _, (EvaluatedModel() | MeasuredModel()) as model:
            return requests.to_evaluated(known.spec, model, known.counted.benchmarks)
        case _:
            return NO_REQUESTS


def _served(stage: Stage, size: int, known: Known) -> Expected | None:
    sent = _sent(stage, known)
    if not sent.number:
        return None
    seconds = speeds.serving_seconds(sent, size, stage.gpus_per_pod, known.assumed_gpu) / stage.pods
    return Expected(seconds, known.basis)


def _called(stage: Stage, endpoint: Endpoint, known: Known) -> Expected | None:
    """Return time and cost of an endpoint, up to its quota."""
    sent, prices, quota = _sent(stage, known), endpoint.prices, endpoint.quota or Quota()
    if not sent.number:
        return None
    cost = 0.0
    if prices:
        cost = (sent.prompt_tokens * prices.prompt + sent.completion_tokens * prices.completion) / 1e6
    owner = f"sources[{stage.subject_name}]" if isinstance(stage.subject, Source) else "evaluation.judge"
    limits = {
        "maxRequests": (quota.max_requests, sent.number),
        "maxTokens": (quota.max_tokens, sent.prompt_tokens + sent.completion_tokens),
        "maxCost": (quota.max_cost, cost),
    }
    shares = {name: limit / use for name, (limit, use) in limits.items() if limit is not None and use > limit}
    share = min(shares.values(), default=1.0)
    in_flight = known.spec.generation.concurrency * min(stage.parallelism, stage.shards or 1)
    seconds = speeds.endpoint_seconds(share * sent.completion_tokens, in_flight)
    exceeds = tuple(f"{owner}.endpoint.quota.{name}" for name in shares)
    return Expected(seconds, Basis.ESTIMATE, share * cost, exceeds)


def _read(stage: Stage, size: int, known: Known) -> Expected | None:
    """Return the time in which a model reads rows, without a response. A pod computes on one GPU."""
    if stage.kind is StageKind.SCORE:
        # ``rewardModel.replicas`` pods share the responses of a source.
        rows = float(requests.to_source(known.amounts, stage.subject_name).number)
    else:
        held_out = total_rows(known.amounts).pairs * known.spec.construction.held_out_fraction
        rows = COMPARED_MODELS * 2 * held_out
    seconds = speeds.forward_seconds(rows * requests.ROW_TOKENS, size, stage.pods, known.assumed_gpu)
    return Expected(seconds, known.basis) if rows else None


def _step(stage: Stage, known: Known) -> float | None:
    """Return the measured seconds of a step of a training."""
    steps = {StageKind.SFT: known.measured.sft_seconds, StageKind.DPO: known.measured.dpo_seconds}
    return steps.get(stage.kind)


def _trained(stage: Stage, size: int, known: Known) -> Expected | None:
    training, total, dpo = known.spec.training, total_rows(known.amounts), stage.kind is StageKind.DPO
    settings, rows = (training.dpo, total.pairs) if dpo else (training.sft, total.sft_rows)
    passes, step = (settings.epochs or 1) * rows, _step(stage, known)
    if not rows:
        return None
    if step is not None:
        # ``preflight`` measures rows of ``maxLength`` tokens, each side of a pair. Real rows are shorter.
        share = min(requests.ROW_TOKENS / (settings.max_length or requests.ROW_TOKENS), 1.0)
        return Expected(share * step * ceil(passes / (settings.global_batch_size or 1)), Basis.MEASURED)
    # 6 FLOPs per parameter and token; a pair is two rows, each with 2 more for the reference model.
    flops = size * (2 * (6 + 2) if dpo else 6)
    seconds = speeds.training_seconds(passes * requests.ROW_TOKENS, flops, stage.gpus, known.assumed_gpu)
    return Expected(seconds, known.basis)
