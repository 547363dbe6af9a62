"""The default of every field of a FusionRun that depends on the recipe, on another field or on the operator.

A field with another default in its class is one whose default has changed: recorded specs of earlier releases are read
with that of the class.

``DEFAULTS`` is the only table: ``fill`` applies it when a run is accepted, and ``descriptions`` returns its texts for
the CRD and docs/reference.md. Texts contain the values. A default that is the same for every run is in the class of the
field (``api``).
"""

from typing import TypeVar

from fusionrun.api.contract import Contract
from fusionrun.api.crd.definition import shown
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.reward import RewardModel
from fusionrun.api.spec.run import DEFAULT_TTL_SECONDS, FAILED_STAGE_TTL_FACTOR, FusionRunSpec
from fusionrun.api.spec.sources import Source, SourceType
from fusionrun.api.spec.target import ChatTemplate
from fusionrun.api.spec.training import Backend, GangScheduler
from fusionrun.plan import recipe
from fusionrun.plan.benchmarks.expansion import with_preset
from fusionrun.plan.dataset_defaults import DATASET_DEFAULTS, model_name
from fusionrun.plan.default import Default, cases_text, constant, each_field
from fusionrun.plan.evaluation_defaults import EVALUATION_DEFAULTS
from fusionrun.settings import Images, Settings

T = TypeVar("T", bound=Contract)


def fill(spec: FusionRunSpec) -> FusionRunSpec:
    """Return the spec with the defaults of all fields that are omitted, and the benchmarks of its preset."""
    spec = with_preset(spec)
    return _fill(spec, "", spec, None)


def descriptions() -> dict[str, str]:
    """Return the sentences on each default, by the path of its field."""
    return {path: default.text for path, default in DEFAULTS.items()}


def _fill(value: T, path: str, spec: FusionRunSpec, item: object) -> T:
    """Return an object at a path with its defaults; ``item`` is the innermost list item that contains it."""
    changes = {}
    for name, field in type(value).model_fields.items():
        here = f"{path}{field.alias}"
        old = new = getattr(value, name)
        if here in DEFAULTS and (old is None or name not in value.model_fields_set):
            new = DEFAULTS[here].value(spec, item)
        if isinstance(new, Contract):
            new = _fill(new, f"{here}.", spec, item)
        elif isinstance(new, list):
            new = [_fill(each, f"{here}[].", spec, each) if isinstance(each, Contract) else each for each in new]
        if new != old:
            changes[name] = new
    return value.model_copy(update=changes) if changes else value


def _operators_resources() -> str:
    operator = Settings(Images(data="", serve="", train="", reward="", sandbox=""))
    return (
        "Defaults to the operator's resources for stages (Helm value `stages.defaultResources`): "
        f"requests {shown(operator.default_requests)} and limits {shown(operator.default_limits)} "
        "unless the administrator changed them."
    )


def _source_sampling(_spec: FusionRunSpec, source: Source) -> Sampling | None:
    return None if source.type is SourceType.DATASET else recipe.source_sampling(model_name(source))


def _empty_sampling(_spec: FusionRunSpec, source: Source) -> Sampling | None:
    return None if source.type is SourceType.DATASET else Sampling()


def _calibration(spec: FusionRunSpec, _item: None) -> object:
    reward: RewardModel = spec.reward_model
    return recipe.ARMORM_CALIBRATION if reward.model and reward.model.uri == recipe.ARMORM_URI else None


_RESOURCES = Default(_operators_resources())
_SAMPLING_CASES = {"models with `qwen` in their name": recipe.QWEN_SAMPLING, "other models": recipe.DEFAULT_SAMPLING}
_GANG_SCHEDULERS = {GangScheduler.COSCHEDULING: "scheduler-plugins-scheduler", GangScheduler.VOLCANO: "volcano"}
"""The ``schedulerName`` of each gang scheduler. Source: the Helm charts of scheduler-plugins and Volcano."""
_ARMORM = recipe.ARMORM_URI.removeprefix("hf://")

_TO_TRAIN = "Required without `evaluateOnly`, forbidden with it."

DEFAULTS: dict[str, Default] = {
    "target": Default(_TO_TRAIN),
    "sources": constant([], _TO_TRAIN),
    "rewardModel": constant(RewardModel(), _TO_TRAIN),
    "datasets": constant([], _TO_TRAIN),
    "target.chatTemplate": constant(ChatTemplate.RECIPE, "Defaults to `Recipe`."),
    "sources[].served.resources": _RESOURCES,
    "sources[].sampling": Default("Defaults to the defaults of its fields.", _empty_sampling),
    **each_field("sources[].sampling", _SAMPLING_CASES, _source_sampling),
    "rewardModel.resources": _RESOURCES,
    "rewardModel.calibration": Default(
        f"Defaults to {len(recipe.ARMORM_CALIBRATION.pairs)} built-in pairs and the score range "
        f"{shown(recipe.ARMORM_CALIBRATION.score_range)} for the model {_ARMORM}. Required for other reward models.",
        _calibration,
    ),
    **DATASET_DEFAULTS,
    "generation.maxConcurrency": Default(f"Defaults to {recipe.CONCURRENCY_GROWTH} times `concurrency`."),
    "construction.rewardMargin": constant(
        recipe.REWARD_MARGIN,
        f"Defaults to {shown(recipe.REWARD_MARGIN)} for the model {_ARMORM}. Required for other reward models.",
    ),
    "construction.sftFraction": constant(recipe.SFT_FRACTION, f"Defaults to {shown(recipe.SFT_FRACTION)}."),
    "training.backend": constant(Backend.AUTO, "Defaults to `Auto`."),
    "training.gang.schedulerName": Default(
        cases_text({scheduler.value: name for scheduler, name in _GANG_SCHEDULERS.items()}),
        lambda spec, _item: _GANG_SCHEDULERS[spec.training.gang.scheduler] if spec.training.gang else None,
    ),
    "training.resources": _RESOURCES,
    **each_field(
        "training.sft",
        {family.value: numbers.sft for family, numbers in recipe.TRAINING.items()},
        lambda spec, _item: recipe.TRAINING[spec.target.family].sft if spec.target else None,
    ),
    "training.sft.saveSteps": Default("If omitted, a checkpoint is saved after each epoch."),
    **each_field(
        "training.dpo",
        {family.value: numbers.dpo for family, numbers in recipe.TRAINING.items()},
        lambda spec, _item: recipe.TRAINING[spec.target.family].dpo if spec.target else None,
    ),
    **EVALUATION_DEFAULTS,
    "evaluation.judge.served.resources": _RESOURCES,
    "evaluation.server.resources": _RESOURCES,
    "dataStages.resources": _RESOURCES,
    "publish.private": Default("Defaults to true.", lambda _spec, _item: True),
    "ttlSecondsAfterFinished": Default(
        f"Defaults to {shown(DEFAULT_TTL_SECONDS)}. Objects of a failed stage are kept {FAILED_STAGE_TTL_FACTOR} times "
        "as long."
    ),
}
"""By the path of a field in the spec: what it is if it is omitted."""
