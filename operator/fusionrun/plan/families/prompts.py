"""The stages that make prompts from data sets and benchmarks: ``prepare``."""

from typing import Any

from fusionrun.api import artifacts
from fusionrun.api.artifacts import canonical
from fusionrun.api.published.repositories import dataset_uri
from fusionrun.api.spec.data import Dataset, TestsFrom
from fusionrun.api.spec.evaluation import Benchmark, BenchmarkColumns
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import Family
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import DatasetParameters, PrepareParameters
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.plan.benchmarks.lm_eval import with_questions
from fusionrun.plan.benchmarks.protocols import asked_protocols, question_digest, text_digest
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import References, dataset_columns, harness_fields
from fusionrun.plan.stages import (
    Evaluated,
    FamilyBenchmarks,
    PromptSet,
    ReferenceSolutions,
    Stage,
    digest_data,
    family_of,
    stage_name,
)

PROMPTS = stage_name(StageKind.PREPARE, PromptSet.PROMPTS)
BENCHMARKS = stage_name(StageKind.PREPARE, PromptSet.BENCHMARKS)
SOLUTIONS = stage_name(StageKind.VERIFY, ReferenceSolutions())

COLUMNS_ADDED_LATER = ("context", "preamble", "solution", "category", "options")
"""Columns that enter the digest of a benchmark only if they are set, so that older digests stay the same."""


def prepare_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan ``prepare`` for the data sets and for the benchmarks."""
    return [*_training_prompts(spec, references), *_benchmarks(spec, references)]


def _training_prompts(spec: FusionRunSpec, references: References) -> list[Stage]:
    if spec.evaluate_only:
        return []
    benchmarks, protocols = with_questions(spec), asked_protocols(spec)
    dataset_pins = tuple(references.indexes[f"datasets[{d.name}]"] for d in spec.datasets)
    parameters = {
        "datasets": [_dataset_digest(d) for d in spec.datasets],
        "leftOut": [
            _benchmark_digest(b, {"split", "grader", "columns"}) | text_digest(protocols[b.name]) for b in benchmarks
        ],
        "shards": spec.generation.shards,
        "seed": spec.construction.seed,
    }
    task_pins = tuple(references.indexes[field] for field in harness_fields(spec).values())
    if task_pins:
        parameters["leftOutTasks"] = [*harness_fields(spec)]
    pins = (*dataset_pins, *_benchmark_pins(spec, references), *task_pins)
    return [Stage(StageKind.PREPARE, PromptSet.PROMPTS, parameters=parameters, pins=pins)]


def _benchmarks(spec: FusionRunSpec, references: References) -> list[Stage]:
    if not spec.evaluation.benchmarks:  # with tasks of lm-eval only, the artifact has no questions
        return []
    first = dict[PromptSet | FamilyBenchmarks, Family | None]()
    for family, subject in question_sets(spec).items():
        first.setdefault(subject, family)
    return [
        Stage(
            StageKind.PREPARE,
            subject,
            parameters={"benchmarks": _questions(spec, family), "seed": spec.construction.seed},
            pins=_benchmark_pins(spec, references),
        )
        for subject, family in first.items()
    ]


def _benchmark_pins(spec: FusionRunSpec, references: References) -> tuple[int, ...]:
    return tuple(references.indexes[f"evaluation.benchmarks[{b.name}]"] for b in with_questions(spec))


def _questions(spec: FusionRunSpec, family: Family | None) -> list[dict[str, Any]]:
    """Return what decides the questions of the benchmarks as models of a family get them."""
    fields, protocols = {"name", "split", "grader", "columns", "max_prompts"}, asked_protocols(spec, family)
    return [_benchmark_digest(b, fields) | question_digest(protocols[b.name]) for b in with_questions(spec)]


def question_sets(spec: FusionRunSpec) -> dict[Family | None, PromptSet | FamilyBenchmarks]:
    """Return the subject of the ``prepare`` stage with the benchmarks, by the family of the evaluated models.

    Families whose models get the same questions share a stage. The first is the one of a run that trains.
    """
    if spec.evaluate_only is None:
        return {None: PromptSet.BENCHMARKS}
    families = list(dict.fromkeys(model.family for model in spec.evaluate_only.models))
    if len(families) == 1:
        return {families[0]: PromptSet.BENCHMARKS}
    by_questions: dict[str, PromptSet | FamilyBenchmarks] = {}
    found: dict[Family | None, PromptSet | FamilyBenchmarks] = {}
    for family in families:
        own = FamilyBenchmarks(family) if found else PromptSet.BENCHMARKS
        found[family] = by_questions.setdefault(canonical(_questions(spec, family)), own)
    return found


def benchmarks_stage(spec: FusionRunSpec, model: Evaluated) -> str:
    """Return the stage that prepares the benchmarks for an evaluated model."""
    return stage_name(StageKind.PREPARE, question_sets(spec)[family_of(model)])


def prepare_task(pinned: PinnedPlan, stage: Stage) -> PrepareParameters:
    """Return the task of ``prepare``: read the data sets, or the benchmarks."""
    spec, seed = pinned.spec, pinned.spec.construction.seed
    family = next((f for f, subject in question_sets(spec).items() if subject == stage.subject), None)
    protocols = asked_protocols(spec, family)
    benchmarks = [_benchmark_task(pinned, b, protocols[b.name]) for b in with_questions(spec)]
    if stage.subject is not PromptSet.PROMPTS:
        return PrepareParameters(datasets=benchmarks, shards=1, seed=seed)
    return PrepareParameters(
        datasets=[_dataset_task(pinned, d) for d in spec.datasets],
        benchmarks=benchmarks,
        harness_data=harness_data(pinned),
        shards=spec.generation.shards,
        seed=seed,
    )


def harness_data(pinned: PinnedPlan) -> dict[str, str]:
    """Return the folder with the data of each task of lm-eval, which ``resolve`` downloaded, by benchmark."""
    fields = harness_fields(pinned.spec).items()
    return {name: artifacts.dataset_dir(pinned.pin(field)) for name, field in fields}


def _dataset_digest(dataset: Dataset) -> dict[str, Any]:
    parameters = {
        "name": dataset.name,
        "task": dataset.task,
        "split": dataset.split,
        "columns": digest_data(dataset_columns(dataset)),
        "maxPrompts": dataset.max_prompts,
        "responses": dataset.responses_columns,
    }
    # Earlier releases did not have these fields: without a value they must not change the digest.
    added = {
        "excluded": sorted(dataset.excluded_subjects or []),
        "nearDuplicates": dataset.near_duplicate_threshold,
        "testsFrom": dataset.tests_from if dataset.tests_from is not TestsFrom.COLUMN else None,
        "turns": dataset.turns,
        "maxResponses": dataset.max_responses_per_prompt,
    }
    return parameters | {name: value for name, value in added.items() if value}


def _dataset_task(pinned: PinnedPlan, dataset: Dataset) -> DatasetParameters:
    uri = dataset_uri(dataset)
    return DatasetParameters(
        name=dataset.name,
        task=dataset.task,
        uri=uri,
        revision=_revision(pinned, f"datasets[{dataset.name}]", uri),
        split=dataset.split,
        columns=dataset_columns(dataset),
        turns=dataset.turns,
        responses_columns=dataset.responses_columns or {},
        max_responses_per_prompt=dataset.max_responses_per_prompt,
        max_prompts=dataset.max_prompts,
        excluded_subjects=dataset.excluded_subjects or [],
        near_duplicate_threshold=dataset.near_duplicate_threshold,
        preset=dataset.preset,
        tests_from=dataset.tests_from,
    )


def _benchmark_digest(benchmark: Benchmark, fields: set[str]) -> dict[str, Any]:
    data = benchmark.model_dump(mode="json", include=fields)
    columns = data["columns"] or {}
    for name in COLUMNS_ADDED_LATER:
        if name in columns and columns[name] is None:
            del columns[name]
    return data


def _benchmark_task(pinned: PinnedPlan, benchmark: Benchmark, protocol: Protocol) -> DatasetParameters:
    uri = benchmark.uri or ""
    return DatasetParameters(
        name=benchmark.name,
        task=protocol.grader,
        uri=uri,
        revision=_revision(pinned, f"evaluation.benchmarks[{benchmark.name}]", uri),
        split=benchmark.split,
        columns=benchmark.columns or BenchmarkColumns(),
        max_prompts=benchmark.max_prompts,
        protocol=protocol,
    )


def _revision(pinned: PinnedPlan, spec_field: str, uri: str) -> str | None:
    """Return the fingerprint of a remote data set, which names its folder on the volume."""
    return None if uri.startswith("pvc://") else pinned.pin(spec_field)


def datasets_with_solutions(spec: FusionRunSpec) -> list[str]:
    """Return the data sets that have reference solutions."""
    return [d.name for d in spec.datasets if dataset_columns(d).solution]


def prompt_inputs(spec: FusionRunSpec) -> tuple[str, ...]:
    """Return the stages whose artifacts determine the prompts to use."""
    return (PROMPTS, SOLUTIONS) if datasets_with_solutions(spec) else (PROMPTS,)


def solutions_verdicts(pinned: PinnedPlan) -> str | None:
    """Return the directory of the verdicts on the reference solutions, if there are any."""
    return pinned.artifact(SOLUTIONS, artifacts.VERDICTS) if datasets_with_solutions(pinned.spec) else None
