"""Fill every field that a FusionRun leaves out with the recipe's number, once, at acceptance."""

from collections.abc import Mapping
from typing import TypeVar

from fusionrun.api.contract import Contract
from fusionrun.api.data import Columns, Construction, Dataset, Evaluation
from fusionrun.api.models import Sampling, ServerSettings, Source, SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.training import Dpo, Sft, Training
from fusionrun.plan import recipe

T = TypeVar("T", bound=Contract)


def _filled(value: T, defaults: Mapping[str, object]) -> T:
    """Return the value with the fields that are None taken from ``defaults``."""
    missing = {k: v for k, v in defaults.items() if getattr(value, k) is None}
    return value.model_copy(update=missing) if missing else value


def _sampling(given: Sampling | None, default: Sampling) -> Sampling:
    return _filled(given or Sampling(), dict(default))


def _source(source: Source) -> Source:
    model = source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""
    if source.type is SourceType.DATASET:
        return source
    return source.model_copy(update={"sampling": _sampling(source.sampling, recipe.source_sampling(model))})


def _dataset(dataset: Dataset, sources: tuple[str, ...]) -> Dataset:
    named = sources[:1] if dataset.task == "SftOnly" else sources
    return _filled(
        dataset,
        {
            "sources": list(named),
            "samples_per_prompt": recipe.SAMPLES_PER_PROMPT[dataset.task],
            "columns": Columns(),
            "responses_columns": {},
        },
    )


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
    answering = tuple(s.name for s in spec.sources if s.type is not SourceType.DATASET)
    return spec.model_copy(
        update={
            "sources": [_source(s) for s in spec.sources],
            "datasets": [_dataset(d, answering) for d in spec.datasets],
            "construction": _construction(spec.construction),
            "training": _training(spec.training, recipe.TRAINING[spec.target.family]),
            "evaluation": _evaluation(spec.evaluation),
        }
    )
