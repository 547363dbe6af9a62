"""Fill every field that a FusionRun leaves out with the recipe's number, once, at acceptance."""

from collections.abc import Mapping
from typing import TypeVar

from fusionrun.api.contract import Contract
from fusionrun.api.data import Columns, Construction, Dataset, Evaluation
from fusionrun.api.models import RewardModel, Sampling, ServerSettings, Source, SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.training import Dpo, Sft, Training
from fusionrun.plan import recipe
from fusionrun.plan.presets import PresetData, default_max_kept, default_max_prompts, preset_data

T = TypeVar("T", bound=Contract)


def _filled(value: T, defaults: Mapping[str, object]) -> T:
    """Return the value with the fields that are None taken from ``defaults``."""
    missing = {k: v for k, v in defaults.items() if getattr(value, k) is None}
    return value.model_copy(update=missing) if missing else value


def _sampling(given: Sampling | None, default: Sampling) -> Sampling:
    return _filled(given or Sampling(), dict(default))


def _model_name(source: Source) -> str:
    """Return what a source's model is called; empty for one whose responses a data set holds."""
    return source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""


def _source(source: Source) -> Source:
    if source.type is SourceType.DATASET:
        return source
    sampling = _sampling(source.sampling, recipe.source_sampling(_model_name(source)))
    return source.model_copy(update={"sampling": sampling})


def _dataset(dataset: Dataset, sources: list[Source]) -> Dataset:
    known = preset_data(dataset.preset) if dataset.preset else None
    held = _held(known, sources)
    answering = [s.name for s in sources if s.type is not SourceType.DATASET]
    named = answering[:1] if dataset.task == "SftOnly" else answering
    if known:
        recipes = tuple(name.lower() for name in known.sources)
        named = [s.name for s in sources if _model_name(s).lower().endswith(recipes) or s.name in held] or named
    return _filled(
        dataset,
        {
            "sources": named,
            "samples_per_prompt": recipe.SAMPLES_PER_PROMPT[dataset.task],
            "columns": Columns(),
            "responses_columns": held if dataset.sources is None or set(held) & set(dataset.sources) else {},
            "excluded_subjects": list(known.excluded) if known else None,
            "near_duplicate_threshold": known.near_duplicates if known else None,
            **_sizes(dataset),
        },
    )


def _sizes(dataset: Dataset) -> dict[str, int]:
    """Return the bounds of a preset; ``maxPrompts`` follows ``maxKept`` where the user has set only that."""
    if dataset.preset is None:
        return {}
    kept = dataset.max_kept or default_max_kept(dataset.preset)
    return {"max_kept": kept, "max_prompts": default_max_prompts(dataset.preset, kept)}


def _held(known: PresetData | None, sources: list[Source]) -> dict[str, str]:
    """Return the column of the responses that a preset's data set holds, if one source alone can be meant by it."""
    holding = [s.name for s in sources if s.type is SourceType.DATASET]
    return {holding[0]: known.responses} if known and known.responses and len(holding) == 1 else {}


def _reward_model(reward: RewardModel) -> RewardModel:
    """Return the reward model with a self-test: the recipe's own where it is the recipe's model."""
    known = reward.model is not None and reward.model.uri == recipe.ARMORM_URI
    return _filled(reward, {"calibration": recipe.ARMORM_CALIBRATION}) if known else reward


def _construction(construction: Construction) -> Construction:
    return _filled(construction, {"reward_margin": recipe.REWARD_MARGIN, "sft_fraction": recipe.SFT_FRACTION})


def _training(training: Training, numbers: recipe.TrainingNumbers) -> Training:
    shared = {
        "global_batch_size": recipe.GLOBAL_BATCH_SIZE,
        "max_length": recipe.MAX_LENGTH,
        "warmup_ratio": recipe.WARMUP_RATIO,
    }
    sft: Sft = _filled(training.sft, shared | {"epochs": recipe.SFT_EPOCHS, "learning_rate": numbers.sft_learning_rate})
    dpo: Dpo = _filled(
        training.dpo,
        shared
        | {
            "epochs": recipe.DPO_EPOCHS,
            "learning_rate": numbers.dpo_learning_rate,
            "beta": numbers.beta,
            "length_normalized": numbers.length_normalized,
            "save_steps": recipe.DPO_SAVE_STEPS,
        },
    )
    return training.model_copy(update={"sft": sft, "dpo": dpo})


def _evaluation(evaluation: Evaluation) -> Evaluation:
    return evaluation.model_copy(
        update={
            "sampling": _sampling(evaluation.sampling, recipe.EVALUATION_SAMPLING),
            "server": evaluation.server or ServerSettings(),
        }
    )


def fill(spec: FusionRunSpec) -> FusionRunSpec:
    """Return the spec with every field filled that the recipe has a number for."""
    return spec.model_copy(
        update={
            "sources": [_source(s) for s in spec.sources],
            "reward_model": _reward_model(spec.reward_model),
            "datasets": [_dataset(d, spec.sources) for d in spec.datasets],
            "construction": _construction(spec.construction),
            "training": _training(spec.training, recipe.TRAINING[spec.target.family]),
            "evaluation": _evaluation(spec.evaluation),
        }
    )
