"""The models and data sets that a spec names: where each is, and which stage fetches it."""

from fusionrun.api.data import Columns, Dataset
from fusionrun.api.models import Model
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import Reference, ReferenceKind, StageKind
from fusionrun.plan.presets import preset_columns, preset_uri
from fusionrun.plan.stages import FetchedModel, stage_name

TARGET = "target"
REWARD = "reward"
"""Roles of the models that are not sources. A source must not have such a name."""


class References:
    """The models and data sets of a spec in order, and the index of each by its field."""

    def __init__(self, spec: FusionRunSpec) -> None:
        self.all: list[Reference] = []
        self.indexes: dict[str, int] = {}
        self.fetches: dict[tuple[str, str | None], FetchedModel] = {}
        """By URI and revision, so that a model in two roles is fetched once."""
        self._fields: dict[str, str] = {}
        self._fetched: dict[str, FetchedModel] = {}
        self._model(TARGET, "target.model", spec.target.model)
        if spec.reward_model.model:
            self._model(REWARD, "rewardModel.model", spec.reward_model.model)
        for source in spec.sources:
            if source.served:
                self._model(source.name, f"sources[{source.name}].served.model", source.served.model)
        for dataset in spec.datasets:
            self._dataset(f"datasets[{dataset.name}]", dataset_uri(dataset), dataset.revision, dataset.split,
                          dataset_columns(dataset), dataset.responses_columns or {})  # fmt: skip
        for benchmark in spec.evaluation.benchmarks:
            self._dataset(f"evaluation.benchmarks[{benchmark.name}]", benchmark.uri, benchmark.revision,
                          benchmark.split, benchmark.columns or Columns(), {})  # fmt: skip

    def _add(self, reference: Reference) -> None:
        self.indexes[reference.field] = len(self.all)
        self.all.append(reference)

    def _model(self, role: str, field: str, model: Model) -> None:
        self._add(Reference(field=field, kind=ReferenceKind.MODEL, uri=model.uri, revision=model.revision))
        self._fields[role] = field
        if not model.uri.startswith("pvc://"):
            self._fetched[role] = self.fetches.setdefault((model.uri, model.revision), FetchedModel(role))

    def _dataset(self, field: str, uri: str, revision: str | None, split: str, columns: Columns,
                 responses: dict[str, str]) -> None:  # fmt: skip
        self._add(
            Reference(
                field=field, kind=ReferenceKind.DATASET, uri=uri, revision=revision, split=split,
                columns=[*columns.named(), *responses.values()],
            )
        )  # fmt: skip

    def model(self, role: str) -> int:
        """Return the index of the model of a role."""
        return self.indexes[self._fields[role]]

    def after(self, role: str) -> tuple[str, ...]:
        """Return the name of the stage that fetches the model of a role, if there is one."""
        return (stage_name(StageKind.FETCH, self._fetched[role]),) if role in self._fetched else ()


def dataset_uri(dataset: Dataset) -> str:
    """Return the URI of a data set: from the spec, else from its preset."""
    return dataset.uri or (preset_uri(dataset.preset) if dataset.preset else "")


def dataset_columns(dataset: Dataset) -> Columns:
    """Return the columns of a data set: from the spec, else from its preset."""
    if dataset.columns and dataset.columns != Columns():
        return dataset.columns
    return preset_columns(dataset.preset) if dataset.preset else (dataset.columns or Columns())
