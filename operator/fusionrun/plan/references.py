"""The models and data sets that a spec names: where each is, and which stage fetches it."""

from fusionrun.api.published.repositories import dataset_uri
from fusionrun.api.spec.data import Columns, Dataset
from fusionrun.api.spec.evaluation import Benchmark, JudgeServed
from fusionrun.api.spec.models import Model
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import Reference, ReferenceKind, StageKind, TemplateName
from fusionrun.api.tasks.harness import task_uri
from fusionrun.plan.benchmarks.lm_eval import harness_task
from fusionrun.plan.presets import preset_data
from fusionrun.plan.recipe import chat_template
from fusionrun.plan.stages import FetchedModel, stage_name, subject_name

TARGET = "target"
REWARD = "reward"
JUDGE = "judge"
"""Roles of the models that are not sources. A source must not have such a name; ``judge`` is one if the run serves a
judge."""


class References:
    """The models and data sets of a spec in order, and the index of each by its field."""

    def __init__(self, spec: FusionRunSpec) -> None:
        self.all: list[Reference] = []
        self.indexes: dict[str, int] = {}
        self.fetches: dict[tuple[str, str | None], FetchedModel] = {}
        """By URI and revision, so that a model in two roles is fetched once."""
        self._models: dict[str, int] = {}
        self._fetched: dict[str, FetchedModel] = {}
        if spec.target:
            self._model(TARGET, "target.model", spec.target.model, chat_template(spec.target))
        for measured in spec.evaluate_only.models if spec.evaluate_only else []:
            self._model(subject_name(measured), measured_field(measured), measured.model, chat_template(measured))
        if spec.reward_model.model:
            self._model(REWARD, "rewardModel.model", spec.reward_model.model)
        for source in spec.sources:
            if source.served:
                self._model(source.name, f"sources[{source.name}].served.model", source.served.model)
        for dataset in spec.datasets:
            columns = [*dataset_columns(dataset).named(), *(dataset.responses_columns or {}).values()]
            self._dataset(f"datasets[{dataset.name}]", dataset_uri(dataset), dataset, columns)
        for benchmark in spec.evaluation.benchmarks:
            if benchmark.harness:
                self._dataset(benchmark_field(benchmark), task_uri(harness_task(benchmark)), benchmark, [])
                continue
            columns = (benchmark.columns or Columns()).named() if benchmark.preset is None else []
            self._dataset(benchmark_field(benchmark), benchmark.uri or "", benchmark, columns)
        if judge := served_judge(spec):
            self._model(JUDGE, "evaluation.judge.served.model", judge.model)

    def _add(self, reference: Reference) -> int:
        self.indexes[reference.field] = index = len(self.all)
        self.all.append(reference)
        return index

    def _model(self, role: str, field: str, model: Model, template: TemplateName | None = None) -> None:
        kind = ReferenceKind.MODEL
        reference = Reference(field=field, kind=kind, uri=model.uri, revision=model.revision, chat_template=template)
        self._models[role] = self._add(reference)
        if not model.uri.startswith("pvc://"):
            self._fetched[role] = self.fetches.setdefault((model.uri, model.revision), FetchedModel(role))

    def _dataset(self, field: str, uri: str, data: Dataset | Benchmark, columns: list[str]) -> None:
        reference = Reference(
            field=field,
            kind=ReferenceKind.DATASET,
            uri=uri,
            revision=data.revision,
            split=data.split,
            columns=columns,
            all_files=isinstance(data, Benchmark) and data.preset is not None,
        )
        self._add(reference)

    def model(self, role: str) -> int:
        """Return the index of the model of a role."""
        return self._models[role]

    def after(self, role: str) -> tuple[str, ...]:
        """Return the name of the stage that fetches the model of a role, if there is one."""
        return (stage_name(StageKind.FETCH, self._fetched[role]),) if role in self._fetched else ()


def measured_field(measured: MeasuredModel) -> str:
    """Return the field of the spec with a model of ``evaluateOnly``."""
    return f"evaluateOnly.models[{measured.name}].model"


def benchmark_field(benchmark: Benchmark) -> str:
    """Return the field of the reference of a benchmark."""
    return f"evaluation.benchmarks[{benchmark.name}]"


def harness_fields(spec: FusionRunSpec) -> dict[str, str]:
    """Return the field of the reference of each task of lm-eval, by the name of the benchmark."""
    return {b.name: benchmark_field(b) for b in spec.evaluation.benchmarks if b.harness}


def served_judge(spec: FusionRunSpec) -> JudgeServed | None:
    """Return the judge that the run serves; None without one, or if it judges nothing."""
    evaluation = spec.evaluation
    judged = any(benchmark.grader and benchmark.grader.needs_judge for benchmark in evaluation.benchmarks)
    return evaluation.judge.served if evaluation.judge and judged else None


def dataset_columns(dataset: Dataset) -> Columns:
    """Return the columns of a data set: from the spec, else from its preset."""
    if dataset.columns and dataset.columns != Columns():
        return dataset.columns
    return preset_data(dataset.preset).columns if dataset.preset else Columns()
