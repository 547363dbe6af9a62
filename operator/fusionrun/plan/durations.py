"""How long each stage is expected to take, for the order in which stages start. Pure.

It is the time of an earlier stage with the same work (``plan.work``). If there is none, it is what the estimate in the
status rests on (``plan.stage_estimate``), for stages with GPUs or an endpoint, and an assumption for the others. It
decides when a stage starts, never what it computes.
"""

from collections.abc import Mapping

from fusionrun.api.published.gpu_models import gpu_model
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.status.estimate import Basis, Estimate, StageEstimate
from fusionrun.plan.gpus import gpu_count
from fusionrun.plan.stage_estimate import Known, expected
from fusionrun.plan.stages import Plan, Stage

PARAMETERS_PER_GPU = 15_000_000_000
"""Assumed size of a served model of unknown size: its weights in bf16 are 30 GB on each of its GPUs."""
SMALL_MODEL = 8_000_000_000
"""Assumed size of a target or reward model of unknown size."""
LOAD_SECONDS = 600.0
"""Assumed time from the start of a server to Ready."""
ASSUMED_SECONDS: dict[StageKind, float] = {
    StageKind.RESOLVE: 60,
    StageKind.FETCH: 1800,
    StageKind.PREPARE: 600,
    StageKind.PREFLIGHT: 600,
    StageKind.SERVE: 3600,
    StageKind.GENERATE: 3600,
    StageKind.VERIFY: 1800,
    StageKind.SCORE: 3600,
    StageKind.CONSTRUCT: 600,
    StageKind.SFT: 4 * 3600,
    StageKind.DPO: 4 * 3600,
    StageKind.PROMOTE: 1800,
    StageKind.JUDGE: 1800,
    StageKind.EVALUATE: 600,
    StageKind.COMPARE: 120,
    StageKind.PUBLISH: 600,
}
"""Assumed time of a stage that the estimate leaves out, by kind; of a server without the time to load its model."""


def expected_seconds(
    spec: FusionRunSpec, plan: Plan, estimate: Estimate | None, measured: Mapping[str, float]
) -> dict[str, float]:
    """Return the expected time of each stage by its name; that of a server ends with the stage that uses it.

    Parameters
    ----------
    measured
        Times of earlier stages with the same work, by the name of the stage.
    estimate
        The estimate in the status. Runs that releases up to 0.2.0 accepted may have none.
    """
    gpu = gpu_model(estimate.gpu) if estimate and estimate.gpu else None
    known = Known(spec, _sizes(spec, estimate), gpu=gpu)
    steps = {row.kind: float(row.seconds) for row in estimate.stages if _is_measured(row)} if estimate else {}
    return {s.name: measured.get(s.name) or steps.get(s.kind) or _seconds(s, known) for s in plan.stages}


def _is_measured(row: StageEstimate) -> bool:
    """Return whether a row is that of a training whose steps were measured: a run has one stage of the kind."""
    return row.kind in (StageKind.SFT, StageKind.DPO) and row.basis == Basis.MEASURED


def _seconds(stage: Stage, known: Known) -> float:
    found = expected(stage, known)
    seconds = ASSUMED_SECONDS[stage.kind] if found is None else found.seconds
    return seconds + LOAD_SECONDS if stage.traits.is_server else seconds


def _sizes(spec: FusionRunSpec, estimate: Estimate | None) -> dict[str, int | None]:
    """Return the number of parameters of each model by its field; assumed where it is unknown."""
    assumed: dict[str, int | None] = {"target.model": SMALL_MODEL, "rewardModel.model": SMALL_MODEL}
    for source in spec.sources:
        if source.served:
            field, gpus = f"sources[{source.name}].served.model", gpu_count(source.served.resources)
            assumed[field] = PARAMETERS_PER_GPU * gpus or None
    known = {model.field: model.parameters for model in estimate.models if model.parameters} if estimate else {}
    return assumed | known
