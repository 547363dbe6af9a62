"""Stages that pin and download what a run reads: ``resolve`` and ``fetch``."""

from fusionrun.api.artifacts import model_dir
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import FetchParameters, ResolveParameters
from fusionrun.plan.demand import demand_of
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import References
from fusionrun.plan.stages import Stage


def resolve_stages() -> list[Stage]:
    """Plan ``resolve``, for which every other stage waits."""
    return [Stage(StageKind.RESOLVE)]


def resolve_task(pinned: PinnedPlan) -> ResolveParameters:
    """Return the task of ``resolve``: pin every reference, and find the artifacts that are complete."""
    return ResolveParameters(
        references=list(pinned.plan.references),
        stages=pinned.plan.planned(),
        hub_endpoint=pinned.hub_endpoint,
        demand=demand_of(pinned),
    )


def fetch_stages(references: References) -> list[Stage]:
    """Plan ``fetch`` for each model that is not on the claim."""
    return [
        Stage(StageKind.FETCH, model, pins=(references.model(model.role),)) for model in references.fetches.values()
    ]


def fetch_task(pinned: PinnedPlan, stage: Stage) -> FetchParameters:
    """Return the task of ``fetch``: download a model to the directory that its fingerprint names."""
    index = stage.pins[0]
    reference = pinned.plan.references[index]
    return FetchParameters(
        uri=reference.uri,
        revision=reference.revision,
        destination=model_dir(pinned.pins[index]),
        hub_endpoint=pinned.hub_endpoint,
    )
