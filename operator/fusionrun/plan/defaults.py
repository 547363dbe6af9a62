"""The default of every field of a FusionRun that depends on the recipe, on another field or on the operator.

A field with another default in its class is one whose default has changed: recorded specs of earlier releases are read
with that of the class.

``DEFAULTS`` is the only table: ``fill`` applies it when a run is accepted, and ``descriptions`` returns its texts for
the CRD and docs/reference.md. Texts contain the values. A default that is the same for every run is in the class of the
field (``api``).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fusionrun.api.contract import Contract
from fusionrun.api.crd import shown
from fusionrun.api.data import Columns, Dataset, Preset, TestsFrom
from fusionrun.api.evaluation import Benchmark, BenchmarkPreset, Grader, Window
from fusionrun.api.models import RewardModel, Sampling, ServerOverride, ServerSettings, Source, SourceType
from fusionrun.api.sizes import PUBLISHED
from fusionrun.api.spec import DEFAULT_TTL_SECONDS, FAILED_STAGE_TTL_FACTOR, ChatTemplate, FusionRunSpec
from fusionrun.api.training import Backend, GangScheduler
from fusionrun.plan import recipe
from fusionrun.plan.benchmarks.expansion import benchmark_uri, default_window, with_preset
from fusionrun.plan.benchmarks.preset import BenchmarkData
from fusionrun.plan.benchmarks.table import benchmark_data
from fusionrun.plan.presets import PresetData, default_max_prompts, preset_data
from fusionrun.settings import Images, Settings

T = TypeVar("T", bound=Contract)
V = TypeVar("V")
Value = Callable[[FusionRunSpec, Any], object]
"""Returns a field's default from the spec and the list item that has the field; None leaves the field out."""


@dataclass(frozen=True)
class Default:
    """What happens if a field is omitted."""

    text: str
    """The last sentences of the field's description."""
    value: Value = lambda _spec, _item: None
    """None for a default that is not part of the spec, such as the operator's."""


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


# Texts ----------------------------------------------------------------------------------------------------------------


def _by_case(values: Mapping[str, object], otherwise: str = "") -> str:
    """Return "Defaults to A for X and Y, B for Z." from the value of each case."""
    cases: dict[str, list[str]] = {}
    for case, value in values.items():
        cases.setdefault(shown(value), []).append(case)
    if len(cases) == 1 and not otherwise:
        return f"Defaults to {next(iter(cases))}."
    listed = [f"{value} for {_listed(names)}" for value, names in cases.items()]
    return f"Defaults to {_listed([*listed, *([otherwise] if otherwise else [])])}."


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _operators_resources() -> str:
    operator = Settings(Images(data="", serve="", train="", reward="", sandbox=""))
    return (
        "Defaults to the operator's resources for stages (Helm value `stages.defaultResources`): "
        f"requests {shown(operator.default_requests)} and limits {shown(operator.default_limits)} "
        "unless the administrator changed them."
    )


# Values ---------------------------------------------------------------------------------------------------------------


def _each_field(
    path: str, cases: Mapping[str, T], recipe_values: Callable[[FusionRunSpec, Any], T | None]
) -> dict[str, Default]:
    """Return a default for each field of the object at ``path`` that has a value in the recipe and none in its class.

    ``cases`` are the recipe's values, by the name of the case in which they are used; ``recipe_values`` returns those
    for a spec and a list item, or None if the object has no defaults.
    """

    def value_of(name: str) -> Value:
        return lambda spec, item: getattr(recipe_values(spec, item), name, None)

    defaults = {}
    for name, field in type(next(iter(cases.values()))).model_fields.items():
        by_case = {case: getattr(values, name) for case, values in cases.items()}
        if field.get_default() is None and any(value is not None for value in by_case.values()):
            defaults[f"{path}.{field.alias}"] = Default(_by_case(by_case), value_of(name))
    return defaults


def _of_preset(value: Callable[[PresetData], object], otherwise: str) -> Default:
    """Return the default of a field of a data set that depends on its preset only."""
    cases = {preset.value: value(preset_data(preset)) for preset in Preset}
    return Default(
        _by_case({name: case for name, case in cases.items() if case}, f"{otherwise} otherwise"),
        lambda _spec, dataset: value(preset_data(dataset.preset)) if dataset.preset else None,
    )


def _constant(value: object, text: str) -> Default:
    return Default(text, lambda _spec, _item: value)


def _model_name(source: Source) -> str:
    """Return the name of a source's model; empty for a source of type Dataset."""
    return source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""


def _source_sampling(_spec: FusionRunSpec, source: Source) -> Sampling | None:
    return None if source.type is SourceType.DATASET else recipe.source_sampling(_model_name(source))


def _empty_sampling(_spec: FusionRunSpec, source: Source) -> Sampling | None:
    return None if source.type is SourceType.DATASET else Sampling()


def _calibration(spec: FusionRunSpec, _item: None) -> object:
    reward: RewardModel = spec.reward_model
    return recipe.ARMORM_CALIBRATION if reward.model and reward.model.uri == recipe.ARMORM_URI else None


def _sources(spec: FusionRunSpec, dataset: Dataset) -> list[str]:
    models = [s.name for s in spec.sources if s.type is not SourceType.DATASET]
    without_preset = models[:1] if dataset.task == "SftOnly" else models
    if dataset.preset is None:
        return without_preset
    preset = preset_data(dataset.preset)
    suffixes = tuple(name.lower() for name in preset.sources)
    columns = _preset_responses(preset, spec.sources)
    matching = [s.name for s in spec.sources if _model_name(s).lower().endswith(suffixes) or s.name in columns]
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


def _of_benchmark(value: Callable[[BenchmarkData], V | None]) -> dict[str, V]:
    """Return a value of each preset of benchmarks that has one, by its name."""
    return {preset.value: found for preset in BenchmarkPreset if (found := value(benchmark_data(preset)))}


def _window(_spec: FusionRunSpec, benchmark: Benchmark) -> Window | None:
    return default_window(benchmark)


def _grader(_spec: FusionRunSpec, benchmark: Benchmark) -> object:
    if benchmark.harness:
        return Grader.LM_EVAL
    return benchmark_data(benchmark.preset).grader if benchmark.preset else None


_RESOURCES = Default(_operators_resources())
_OF_PROTOCOL = "Defaults to that of the preset (docs/evaluation.md)"
_HUB = _of_benchmark(lambda known: known.hub)
_SAMPLING_CASES = {"models with `qwen` in their name": recipe.QWEN_SAMPLING, "other models": recipe.DEFAULT_SAMPLING}
_GANG_SCHEDULERS = {GangScheduler.COSCHEDULING: "scheduler-plugins-scheduler", GangScheduler.VOLCANO: "volcano"}
"""The ``schedulerName`` of each gang scheduler. Source: the Helm charts of scheduler-plugins and Volcano."""
_ARMORM = recipe.ARMORM_URI.removeprefix("hf://")
_WITH_RESPONSES = [preset.value for preset in Preset if preset_data(preset).responses]

_TO_TRAIN = "Required without `evaluateOnly`, forbidden with it."

DEFAULTS: dict[str, Default] = {
    "evaluateOnly.baseline": Default(
        "Defaults to the first model.",
        lambda spec, _item: spec.evaluate_only.models[0].name if spec.evaluate_only else None,
    ),
    "target": Default(_TO_TRAIN),
    "sources": _constant([], _TO_TRAIN),
    "rewardModel": _constant(RewardModel(), _TO_TRAIN),
    "datasets": _constant([], _TO_TRAIN),
    "target.chatTemplate": _constant(ChatTemplate.RECIPE, "Defaults to `Recipe`."),
    "sources[].served.resources": _RESOURCES,
    "sources[].sampling": Default("Defaults to the defaults of its fields.", _empty_sampling),
    **_each_field("sources[].sampling", _SAMPLING_CASES, _source_sampling),
    "rewardModel.resources": _RESOURCES,
    "rewardModel.calibration": Default(
        f"Defaults to {len(recipe.ARMORM_CALIBRATION.pairs)} built-in pairs and the score range "
        f"{shown(recipe.ARMORM_CALIBRATION.score_range)} for the model {_ARMORM}. Required for other reward models.",
        _calibration,
    ),
    "datasets[].columns": _constant(
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
        f"Defaults to the responses in {_listed(_WITH_RESPONSES)} if the run has exactly one source of type Dataset.",
        _responses_columns,
    ),
    "datasets[].samplesPerPrompt": Default(
        _by_case({task.value: samples for task, samples in recipe.SAMPLES_PER_PROMPT.items()}),
        lambda _spec, dataset: recipe.SAMPLES_PER_PROMPT[dataset.task],
    ),
    "datasets[].turns": _of_preset(
        lambda known: known.turns, "to the first user turn of a chat and to the whole text of other columns"
    ),
    "datasets[].maxResponsesPerPrompt": Default(
        _by_case(
            {p.value: known.max_responses for p in Preset if (known := preset_data(p)).max_responses},
            "to no limit otherwise",
        ),
        _max_responses,
    ),
    "datasets[].maxPrompts": Default(
        _by_case({p.value: default_max_prompts(p, s.total) for p, s in PUBLISHED.items()}, "to no limit otherwise")
        + " If a preset's maxKept is set, maxPrompts changes in proportion.",
        _max_prompts,
    ),
    "datasets[].maxKept": Default(
        _by_case({preset.value: size.total for preset, size in PUBLISHED.items()}, "to no limit otherwise"), _max_kept
    ),
    "datasets[].excludedSubjects": _of_preset(lambda known: list(known.excluded), "none"),
    "datasets[].nearDuplicateThreshold": _of_preset(lambda known: known.near_duplicates, "0"),
    "generation.maxConcurrency": Default(f"Defaults to {recipe.CONCURRENCY_GROWTH} times `concurrency`."),
    "construction.rewardMargin": _constant(
        recipe.REWARD_MARGIN,
        f"Defaults to {shown(recipe.REWARD_MARGIN)} for the model {_ARMORM}. Required for other reward models.",
    ),
    "construction.sftFraction": _constant(recipe.SFT_FRACTION, f"Defaults to {shown(recipe.SFT_FRACTION)}."),
    "training.backend": _constant(Backend.AUTO, "Defaults to `Auto`."),
    "training.gang.schedulerName": Default(
        _by_case({scheduler.value: name for scheduler, name in _GANG_SCHEDULERS.items()}),
        lambda spec, _item: _GANG_SCHEDULERS[spec.training.gang.scheduler] if spec.training.gang else None,
    ),
    "training.resources": _RESOURCES,
    **_each_field(
        "training.sft",
        {family.value: numbers.sft for family, numbers in recipe.TRAINING.items()},
        lambda spec, _item: recipe.TRAINING[spec.target.family].sft if spec.target else None,
    ),
    "training.sft.saveSteps": Default("If omitted, a checkpoint is saved after each epoch."),
    **_each_field(
        "training.dpo",
        {family.value: numbers.dpo for family, numbers in recipe.TRAINING.items()},
        lambda spec, _item: recipe.TRAINING[spec.target.family].dpo if spec.target else None,
    ),
    "evaluation.benchmarks[].uri": Default(
        f"Defaults to the subfolder of `evaluation.uri`, if that is set, and else to the hub for {_listed(_HUB)}.",
        lambda spec, benchmark: benchmark_uri(spec.evaluation, benchmark),
    ),
    "evaluation.benchmarks[].grader": Default(f"{_OF_PROTOCOL}, and to LmEval with `harness`.", _grader),
    "evaluation.benchmarks[].columns": Default("Defaults to the format of the preset."),
    "evaluation.benchmarks[].systemPrompt": Default(f"{_OF_PROTOCOL}, and to no message without a preset."),
    "evaluation.benchmarks[].promptTemplate": Default(
        f"{_OF_PROTOCOL}, and without a preset to the prompt alone, for grader Choice with the options and a request."
    ),
    "evaluation.benchmarks[].prefill": Default(f"{_OF_PROTOCOL}, and to nothing without a preset."),
    **dict.fromkeys(
        (
            "evaluation.benchmarks[].sampling",
            *(f"evaluation.benchmarks[].sampling.{f.alias}" for f in Sampling.model_fields.values()),
        ),
        Default(f"{_OF_PROTOCOL}, to that of the task with `harness`, and to `evaluation.sampling` otherwise."),
    ),
    "evaluation.benchmarks[].stop": Default(f"{_OF_PROTOCOL}, and to none without a preset."),
    "evaluation.benchmarks[].samples": Default(
        _by_case(_of_benchmark(lambda known: known.samples if known.samples > 1 else None), "to 1 otherwise")
    ),
    "evaluation.benchmarks[].window": Default(
        "Defaults to "
        + _listed(
            f"{start} to {end} for {preset}"
            for preset, (start, end) in _of_benchmark(lambda known: known.window).items()
        )
        + ".",
        _window,
    ),
    "evaluation.judge.served.resources": _RESOURCES,
    "evaluation.sampling": _constant(Sampling(), "Defaults to the defaults of its fields."),
    **_each_field(
        "evaluation.sampling", {"": recipe.EVALUATION_SAMPLING}, lambda _spec, _item: recipe.EVALUATION_SAMPLING
    ),
    "evaluation.server": _constant(ServerSettings(), "Defaults to the defaults of its fields."),
    "evaluation.server.resources": _RESOURCES,
    **dict.fromkeys(
        (f"evaluateOnly.models[].server.{field.alias}" for field in ServerOverride.model_fields.values()),
        Default("Defaults to that of `evaluation.server`."),
    ),
    "dataStages.resources": _RESOURCES,
    "publish.private": Default("Defaults to true.", lambda _spec, _item: True),
    "ttlSecondsAfterFinished": Default(
        f"Defaults to {shown(DEFAULT_TTL_SECONDS)}. Objects of a failed stage are kept {FAILED_STAGE_TTL_FACTOR} times "
        "as long."
    ),
}
"""By the path of a field in the spec: what it is if it is omitted."""
