"""The licences of what a run was made from, and of the benchmarks that measured it."""

from collections.abc import Iterator

from fusionrun.api.published.repositories import dataset_uri
from fusionrun_stages.cards.facts import Facts
from fusionrun_stages.cards.licences import Licence, licence_of_dataset, licence_of_model


def licences_of_data(facts: Facts) -> Iterator[tuple[str, Licence]]:
    """Yield the licence of each source and of each data set."""
    for source in facts.spec.sources:
        if source.served or source.endpoint:
            name = source.served.model.uri if source.served else source.endpoint.model if source.endpoint else ""
            yield f"source {source.name}", licence_of_model(name, facts.licences.get(f"sources[{source.name}]"))
    for dataset in facts.spec.datasets:
        declared = facts.licences.get(f"datasets[{dataset.name}]")
        yield f"data set {dataset.name}", licence_of_dataset(dataset_uri(dataset), declared)


def licences_of_model(facts: Facts) -> Iterator[tuple[str, Licence]]:
    """Yield the licence of the base model, and those of the data that it was trained on."""
    yield "base model", licence_of_model(facts.spec.trained.model.uri, facts.licences.get("target"))
    yield from licences_of_data(facts)


def licences_of_benchmarks(facts: Facts) -> list[tuple[str, str]]:
    """Return the licence of the questions of each benchmark; empty without benchmarks."""
    benchmarks = (benchmark.name for benchmark in facts.spec.evaluation.benchmarks)
    return [(name, facts.benchmark_licences.get(name, "unknown")) for name in benchmarks]
