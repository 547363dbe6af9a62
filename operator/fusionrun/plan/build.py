"""Build the plan of a spec. This module defines the order of the stages, the families define the stages."""

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.families import (
    comparison,
    construction,
    evaluation,
    inputs,
    judging,
    preflight,
    prompts,
    publishing,
    responses,
    training,
)
from fusionrun.plan.graph import check_order
from fusionrun.plan.references import References
from fusionrun.plan.stages import Plan, Stage

_OF_TRAINING = frozenset({
    StageKind.PREFLIGHT, StageKind.CONSTRUCT, StageKind.SFT, StageKind.DPO, StageKind.PROMOTE, StageKind.PUBLISH,
})  # fmt: skip
"""Kinds that a run with ``evaluateOnly`` has no stages of. It has no sources, and so no stages of theirs."""


def build_plan(spec: FusionRunSpec) -> Plan:
    """Build the plan of a spec whose every field is filled (``plan.defaults.fill``)."""
    references = References(spec)
    planned = (stage for kind in StageKind for stage in _stages(kind, spec, references))
    stages = preflight.wait_for_preflight(planned)
    check_order(stages)
    return Plan(tuple(stages), tuple(references.all))


def _stages(  # noqa: C901, PLR0911, PLR0912 -- one case per kind
    kind: StageKind, spec: FusionRunSpec, references: References
) -> list[Stage]:
    """Return the stages to plan at the position of a kind. Kinds are in the order of the recipe.

    Stages that alternate, such as ``serve`` and ``generate`` of each source, are planned with the first of their kinds.
    """
    if spec.evaluate_only and kind in _OF_TRAINING:
        return []
    match kind:
        case StageKind.RESOLVE:
            return inputs.resolve_stages()
        case StageKind.FETCH:
            return inputs.fetch_stages(references)
        case StageKind.PREPARE:
            return [*prompts.prepare_stages(spec, references), *judging.solutions_stages(spec)]
        case StageKind.PREFLIGHT:
            return preflight.preflight_stages(spec, references)
        case StageKind.SERVE:
            return responses.source_stages(spec, references)
        case StageKind.VERIFY:
            return judging.judging_stages(spec, references)
        case StageKind.GENERATE | StageKind.SCORE:
            return []  # planned with SERVE and VERIFY
        case StageKind.JUDGE:
            return []  # planned with EVALUATE
        case StageKind.CONSTRUCT:
            return construction.construct_stages(spec)
        case StageKind.SFT:
            return training.sft_stages(spec, references)
        case StageKind.DPO:
            return training.dpo_stages(spec)
        case StageKind.PROMOTE:
            return training.promote_stages(spec)
        case StageKind.EVALUATE:
            return evaluation.evaluation_stages(spec, references)
        case StageKind.COMPARE:
            return comparison.compare_stages(spec)
        case StageKind.PUBLISH:
            return publishing.publish_stages(spec)
