"""What ``prepare`` is asked: which data sets and benchmarks to read, and how."""

from fusionrun.api.data import Benchmark, Columns, Dataset
from fusionrun.api.parameters import DatasetParameters, PrepareParameters
from fusionrun.plan.layout import Layout
from fusionrun.plan.references import dataset_columns, dataset_uri
from fusionrun.plan.stages import Stage


def _pinned(layout: Layout, spec_field: str, uri: str) -> str | None:
    """Return the pin of a remote data set, by which ``resolve`` has named its folder on the volume."""
    return None if uri.startswith("pvc://") else layout.pin(spec_field)


def _dataset(layout: Layout, dataset: Dataset) -> DatasetParameters:
    uri = dataset_uri(dataset)
    return DatasetParameters(
        name=dataset.name,
        task=dataset.task,
        uri=uri,
        revision=_pinned(layout, f"datasets[{dataset.name}]", uri),
        split=dataset.split,
        columns=dataset_columns(dataset),
        responses_columns=dataset.responses_columns or {},
        max_prompts=dataset.max_prompts,
        excluded_subjects=dataset.excluded_subjects or [],
        near_duplicate_threshold=dataset.near_duplicate_threshold,
        preset=dataset.preset,
    )


def _benchmark(layout: Layout, benchmark: Benchmark) -> DatasetParameters:
    return DatasetParameters(
        name=benchmark.name,
        task=benchmark.grader,
        uri=benchmark.uri,
        revision=_pinned(layout, f"evaluation.benchmarks[{benchmark.name}]", benchmark.uri),
        split=benchmark.split,
        columns=benchmark.columns or Columns(),
        max_prompts=benchmark.max_prompts,
    )


def prepare(layout: Layout, stage: Stage) -> PrepareParameters:
    """Ask for the prompts of the data sets, or of the benchmarks."""
    spec = layout.spec
    benchmarks = [_benchmark(layout, b) for b in spec.evaluation.benchmarks]
    if stage.name == "prepare/benchmarks":
        return PrepareParameters(datasets=benchmarks, shards=1, seed=spec.construction.seed)
    return PrepareParameters(
        datasets=[_dataset(layout, d) for d in spec.datasets],
        benchmarks=benchmarks,
        shards=spec.generation.shards,
        seed=spec.construction.seed,
    )
