"""Every model and data set that a spec names: where it is, and who fetches it."""

from fusionrun.api.data import Columns, Dataset
from fusionrun.api.models import Model
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import Reference, ReferenceKind
from fusionrun.plan.presets import preset_columns, preset_uri


class References:
    """Every model and data set that the spec names, in order, and the index of each."""

    def __init__(self, spec: FusionRunSpec) -> None:
        self.all: list[Reference] = []
        self.indexes: dict[str, int] = {}
        self.fetched: dict[str, str] = {}
        """Role of a model to the name of the stage that fetches it; one model in two roles is fetched once."""
        self.fetches: dict[tuple[str, str | None], str] = {}
        self._model("target", "target.model", spec.target.model)
        if spec.reward_model.model:
            self._model("reward", "rewardModel.model", spec.reward_model.model)
        for source in spec.sources:
            if source.served:
                self._model(source.name, f"sources[{source.name}].served.model", source.served.model)
        for dataset in spec.datasets:
            self._dataset(f"datasets[{dataset.name}]", dataset_uri(dataset), dataset.revision, dataset.split,
                          dataset_columns(dataset), dataset.responses_columns or {})  # fmt: skip
        for benchmark in spec.evaluation.benchmarks:
            self._dataset(f"evaluation.benchmarks[{benchmark.name}]", benchmark.uri, benchmark.revision,
                          benchmark.split, benchmark.columns or Columns(), {})  # fmt: skip

    def _add(self, key: str, reference: Reference) -> None:
        self.indexes[key] = len(self.all)
        self.all.append(reference)

    def _model(self, role: str, field: str, model: Model) -> None:
        self._add(field, Reference(field=field, kind=ReferenceKind.MODEL, uri=model.uri, revision=model.revision))
        self.indexes[f"model:{role}"] = self.indexes[field]
        if not model.uri.startswith("pvc://"):
            self.fetched[role] = self.fetches.setdefault((model.uri, model.revision), f"fetch/{role}")

    def _dataset(self, field: str, uri: str, revision: str | None, split: str, columns: Columns,
                 responses: dict[str, str]) -> None:  # fmt: skip
        reference = Reference(
            field=field, kind=ReferenceKind.DATASET, uri=uri, revision=revision, split=split,
            columns=[*columns.named(), *responses.values()],
        )  # fmt: skip
        self._add(field, reference)

    def model(self, role: str) -> int:
        """Return the index of the model of a role."""
        return self.indexes[f"model:{role}"]

    def after(self, role: str) -> tuple[str, ...]:
        """Return the fetch stage of a role, if it has one."""
        return (self.fetched[role],) if role in self.fetched else ()


def dataset_uri(dataset: Dataset) -> str:
    """Return where a data set is: its own URI, or its preset's."""
    return dataset.uri or (preset_uri(dataset.preset) if dataset.preset else "")


def dataset_columns(dataset: Dataset) -> Columns:
    """Return a data set's columns: its own, or its preset's."""
    if dataset.columns and dataset.columns != Columns():
        return dataset.columns
    return preset_columns(dataset.preset) if dataset.preset else (dataset.columns or Columns())
