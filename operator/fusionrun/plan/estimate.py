"""Estimate of GPU-hours, wall time and cost, from the amounts of data and the parameters of the models. Pure.

Every number here is an assumption; docs/preflight.md has the derivations. Seconds per step that ``preflight`` has
measured replace those of training. Its own GPU time, minutes, is left out.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import ceil

from fusionrun.api.estimate import Basis, Estimate, StageEstimate
from fusionrun.api.models import SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.amounts import Amounts, amounts, total_rows, unknown
from fusionrun.plan.gpus import gpu_count
from fusionrun.plan.stages import Plan, Stage

PEAK_FLOPS = 989e12
"""Dense bf16 of one GPU. Source: NVIDIA H100 SXM data sheet."""
BANDWIDTH = 3.35e12
"""Bytes per second of its memory. Source: the same data sheet."""
DECODE_BATCH = 256
DECODE_BANDWIDTH_SHARE, DECODE_FLOPS_SHARE, PREFILL_SHARE, TRAIN_SHARE = 0.6, 0.25, 0.4, 0.35
"""Assumed shares of the peaks: reading weights and computing in decoding, one forward pass, and training (MFU)."""
PROMPT_TOKENS, RESPONSE_TOKENS = 150, 450
"""Assumed mean lengths."""
ROW_TOKENS = PROMPT_TOKENS + RESPONSE_TOKENS


@dataclass(frozen=True)
class MeasuredSteps:
    """Seconds of an optimizer step, from ``preflight``."""

    sft_seconds: float | None = None
    dpo_seconds: float | None = None


def estimate(
    spec: FusionRunSpec,
    plan: Plan,
    parameters: Mapping[str, int | None],
    needed: Collection[str],
    price: Callable[[Stage], float],
    measured: MeasuredSteps | None = None,
) -> Estimate:
    """Return the estimate of the stages that have to run.

    Parameters
    ----------
    parameters
        Number of parameters by the field of each model; None if it is unknown.
    needed
        Names of the stages that have to run.
    price
        Cost of all GPUs of a stage for an hour.
    """
    found = amounts(spec)
    by_kind: dict[StageKind, list[tuple[Stage, float]]] = {}
    basis: dict[StageKind, Basis] = {}
    for stage in plan.stages:
        if stage.name not in needed or not stage.gpus:
            continue
        seconds, rests_on = stage_seconds(spec, stage, found, parameters, measured or MeasuredSteps())
        if seconds is not None:
            by_kind.setdefault(stage.kind, []).append((stage, seconds))
            basis[stage.kind] = rests_on
    rows = [_row(spec, kind, stages, basis[kind], price) for kind, stages in by_kind.items()]
    costs = [row.cost for row in rows if row.cost is not None]
    return Estimate(
        stages=rows,
        gpu_hours=round(sum(row.gpu_hours for row in rows), 2) if rows else None,
        seconds=sum(row.seconds for row in rows) if rows else None,
        cost=round(sum(costs), 2) if costs else None,
        unknown=unknown(found),
    )


def _row(
    spec: FusionRunSpec,
    kind: StageKind,
    stages: list[tuple[Stage, float]],
    basis: Basis,
    price: Callable[[Stage], float],
) -> StageEstimate:
    gpu_seconds = sum(seconds * stage.gpus for stage, seconds in stages)
    budget = spec.scheduling.gpu_budget
    wall = max([seconds for _, seconds in stages] + ([gpu_seconds / budget] if budget else []))
    cost = sum(seconds / 3600 * price(stage) for stage, seconds in stages)
    return StageEstimate(
        kind=kind, gpu_hours=round(gpu_seconds / 3600, 2), seconds=ceil(wall), cost=round(cost, 2) or None, basis=basis
    )


def stage_seconds(  # noqa: PLR0911 -- one case per kind
    spec: FusionRunSpec,
    stage: Stage,
    found: list[Amounts],
    parameters: Mapping[str, int | None],
    measured: MeasuredSteps,
) -> tuple[float | None, Basis]:
    """Return the seconds of one stage, and what they rest on; None if they are unknown."""
    rows = total_rows(found)
    match stage.kind:
        case StageKind.SERVE if stage.subject in spec.sources:
            size = parameters.get(f"sources[{stage.subject_name}].served.model")
            responses = _responses(found, stage.subject_name)
            if not size or not responses or stage.source.type is not SourceType.SERVED:
                return None, Basis.ESTIMATE
            gpus = stage.gpus_per_pod
            return responses * RESPONSE_TOKENS / decode_tokens_per_second(size, gpus) / stage.pods, Basis.ESTIMATE
        case StageKind.SCORE:
            size, responses = parameters.get("rewardModel.model"), _responses(found, stage.subject_name)
            if not size or not responses:
                return None, Basis.ESTIMATE
            flops = 2 * size * responses * ROW_TOKENS
            # A pod computes on one GPU. ``rewardModel.replicas`` pods share the responses of a source.
            return flops / (PREFILL_SHARE * PEAK_FLOPS * stage.pods), Basis.ESTIMATE
        case StageKind.SFT:
            return _training(spec, parameters, measured.sft_seconds, rows.sft_rows, dpo=False)
        case StageKind.DPO:
            return _training(spec, parameters, measured.dpo_seconds, rows.pairs, dpo=True)
        case _:
            return None, Basis.ESTIMATE


def decode_tokens_per_second(parameters: int, gpus: int) -> float:
    """Return the tokens that one replica generates per second.

    A step of ``DECODE_BATCH`` sequences reads all weights (2 bytes each) once and computes 2 FLOPs per parameter and
    token; both are divided over the GPUs of the replica. Reading the KV cache is left out.
    """
    reading = 2 * parameters / (gpus * BANDWIDTH * DECODE_BANDWIDTH_SHARE)
    computing = DECODE_BATCH * 2 * parameters / (gpus * PEAK_FLOPS * DECODE_FLOPS_SHARE)
    return DECODE_BATCH / (reading + computing)


def _responses(found: list[Amounts], source: str) -> int:
    return sum(each.by_source.get(source) or 0 for each in found)


def _training(
    spec: FusionRunSpec, parameters: Mapping[str, int | None], step: float | None, rows: int, *, dpo: bool
) -> tuple[float | None, Basis]:
    settings = spec.training.dpo if dpo else spec.training.sft
    passes, size = (settings.epochs or 1) * rows, parameters.get("target.model")
    if not rows:
        return None, Basis.ESTIMATE
    if step is not None:
        return step * ceil(passes / (settings.global_batch_size or 1)), Basis.MEASURED
    if not size:
        return None, Basis.ESTIMATE
    # 6 FLOPs per parameter and token; a pair is two rows, each with 2 more for the reference model.
    flops = passes * ROW_TOKENS * size * (2 * (6 + 2) if dpo else 6)
    gpus = spec.training.nodes * gpu_count(spec.training.resources)
    return flops / (gpus * PEAK_FLOPS * TRAIN_SHARE), Basis.ESTIMATE
