"""The stages of a run that an earlier release accepted, as that release planned their pods."""

from collections.abc import Collection
from dataclasses import replace

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.gpus import devices_of
from fusionrun.plan.pinned import Feature
from fusionrun.plan.stages import Plan, Stage


def with_features(plan: Plan, spec: FusionRunSpec, features: Collection[Feature]) -> Plan:
    """Return the plan without what its run does not have."""

    def adopt(stage: Stage) -> Stage:
        if Feature.SHARED_SHARDS not in features:
            stage = replace(stage, shares_shards=False)
        if Feature.PROMOTE_ON_ONE_GPU not in features and stage.kind is StageKind.PROMOTE:
            stage = replace(stage, resources=None, devices=devices_of(spec.training.resources))
        return stage

    return replace(plan, stages=tuple(map(adopt, plan.stages)))
