"""Defaults of the fields of a data set: from its preset, its task and the sources."""

from collections.abc import Callable

from fusionrun.api.published.sizes import PUBLISHED
from fusionrun.api.spec.data import Columns, Dataset, Preset, TestsFrom
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source, SourceType
from fusionrun.plan import recipe
from fusionrun.plan.default import Default, cases_text, constant, listed
from fusionrun.plan.presets import PresetData, default_max_prompts, preset_data


def _of_preset(value: Callable[[PresetData], object], otherwise: str) -> Default:
    """Return the default of a field of a data set that depends on its preset only."""
    cases = {preset.value: value(preset_data(preset)) for preset in Preset}
    return Default(
        cases_text({name: case for name, case in cases.items() if case}, f"{otherwise} otherwise"),
        lambda _spec, dataset: value(preset_data(dataset.preset)) if dataset.preset else None,
    )


def model_name(source: Source) -> str:
    """Return the name of a source's model; empty for a source of type Dataset."""
    return source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""


def _sources(spec: FusionRunSpec, dataset: Dataset) -> list[str]:
    models = [s.name for s in spec.sources if s.type is not SourceType.DATASET]
    without_preset = models[:1] if dataset.task == "SftOnly" else models
    if dataset.preset is None:
        return without_preset
    preset = preset_data(dataset.preset)
    suffixes = tuple(name.lower() for name in preset.sources)
    columns = _preset_responses(preset, spec.sources)
    matching = [s.name for s in spec.sources if model_name(s).lower().endswith(suffixes) or s.name in columns]
    return matching or without_preset


def _tests_from(_spec: FusionRunSpec, dataset: Dataset) -> TestsFrom | None:
    if dataset.preset is None or (dataset.columns and dataset.columns.tests):
        return None
    return preset_data(dataset.preset).tests_from


def _responses_columns(spec: FusionRunSpec, dataset: Dataset) -> dict[str, str]:
    columns = _preset_responses(preset_data(dataset.preset), spec.sources) if dataset.preset else {}
    return columns if dataset.sources is None or set(columns) & set(dataset.sources) else {}


def _preset_responses(preset: PresetData, sources: list[Source]) -> dict[str, str]:
    """Return the column of the responses in a preset's data set, if exactly one source of type Dataset can use it."""
    names = [s.name for s in sources if s.type is SourceType.DATASET]
    return {names[0]: preset.responses} if preset.responses and len(names) == 1 else {}


def _max_responses(spec: FusionRunSpec, dataset: Dataset) -> int | None:
    columns = dataset.responses_columns
    if columns is None:
        columns = _responses_columns(spec, dataset)
    return preset_data(dataset.preset).max_responses if dataset.preset and columns else None


def _max_kept(_spec: FusionRunSpec, dataset: Dataset) -> int | None:
    return PUBLISHED[dataset.preset].total if dataset.preset else None


def _max_prompts(_spec: FusionRunSpec, dataset: Dataset) -> int | None:
    if dataset.preset is None:
        return None
    return default_max_prompts(dataset.preset, dataset.max_kept or PUBLISHED[dataset.preset].total)


_WITH_RESPONSES = [preset.value for preset in Preset if preset_data(preset).responses]

DATASET_DEFAULTS: dict[str, Default] = {
    "datasets[].columns": constant(
        Columns(), "Defaults to the preset's columns, or to a prompt in the column `prompt` without a preset."
    ),
    "datasets[].testsFrom": Default(
        f"Defaults to `Prompt` for {Preset.SELF_OSS_INSTRUCT} without `columns.tests`, and to `Column` otherwise.",
        _tests_from,
    ),
    "datasets[].sources": Default(
        "Defaults to the recipe's sources for the preset, found by the names of their models. Without such a source or "
        "a preset, defaults to all sources except those of type Dataset, or to the first of them for task SftOnly.",
        _sources,
    ),
    "datasets[].responsesColumns": Default(
        f"Defaults to the responses in {listed(_WITH_RESPONSES)} if the run has exactly one source of type Dataset.",
        _responses_columns,
    ),
    "datasets[].samplesPerPrompt": Default(
        cases_text({task.value: samples for task, samples in recipe.SAMPLES_PER_PROMPT.items()}),
        lambda _spec, dataset: recipe.SAMPLES_PER_PROMPT[dataset.task],
    ),
    "datasets[].turns": _of_preset(
        lambda known: known.turns, "to the first user turn of a chat and to the whole text of other columns"
    ),
    "datasets[].maxResponsesPerPrompt": Default(
        cases_text(
            {p.value: known.max_responses for p in Preset if (known := preset_data(p)).max_responses},
            "to no limit otherwise",
        ),
        _max_responses,
    ),
    "datasets[].maxPrompts": Default(
        cases_text({p.value: default_max_prompts(p, s.total) for p, s in PUBLISHED.items()}, "to no limit otherwise")
        + " If a preset's maxKept is set, maxPrompts changes in proportion.",
        _max_prompts,
    ),
    "datasets[].maxKept": Default(
        cases_text({preset.value: size.total for preset, size in PUBLISHED.items()}, "to no limit otherwise"), _max_kept
    ),
    "datasets[].excludedSubjects": _of_preset(lambda known: list(known.excluded), "none"),
    "datasets[].nearDuplicateThreshold": _of_preset(lambda known: known.near_duplicates, "0"),
}
"""By the path of a field in the spec."""
