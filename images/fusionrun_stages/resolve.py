"""Pin and check every model and data set of a run, and list the artifacts that are complete already.

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages resolve``

No GPU is requested before this stage has succeeded. It checks every reference, the memory of the GPUs and the space of
the claim, and one error names all faults: the spec's field, the value and the rule of each. It runs every time, also if
its manifest exists.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fusionrun.api.artifacts import PIN_LENGTH, artifact_dir, digests
from fusionrun.api.results.values import Resolved
from fusionrun.api.stage import Reference
from fusionrun.api.tasks.parameters import ResolveParameters
from fusionrun_stages.remote.hub import save_commit
from fusionrun_stages.resolving.faults import Faults
from fusionrun_stages.resolving.needs import (
    check_disk,
    check_memory,
    is_model,
    memory_needs,
    model_facts,
    terms,
    training_hints,
    warn_of_datasets,
)
from fusionrun_stages.resolving.references import Pinned, pin
from fusionrun_stages.volume.manifest import is_complete
from fusionrun_stages.volume.paths import on_volume
from fusionrun_stages.work import Made, Work

log = logging.getLogger(__name__)


def run(work: Work) -> Made:
    """Pin and check the references; list the complete artifacts."""
    parameters, faults = work.parameters(ResolveParameters), Faults()
    references, demand = parameters.references, parameters.demand
    pinned = _pin_all(work, references, parameters.hub_endpoint, faults)
    stage_digests: dict[str, str] = {}
    complete: list[int] = []
    if len(pinned) == len(references):
        stage_digests = digests(parameters.stages, [pinned[i].fingerprint[:PIN_LENGTH] for i in range(len(pinned))])
        complete = _complete(parameters, stage_digests)
    models = {i: model_facts(r, pinned[i]) for i, r in enumerate(references) if i in pinned and is_model(r)}
    warn_of_datasets(references, pinned)
    needs = memory_needs(demand, models) if demand else []
    memory = check_memory(needs, faults) | training_hints(demand, models) if demand else {}
    names = {parameters.stages[i].name for i in complete}
    disk = check_disk(demand, models, pinned, names, faults)
    faults.raise_all()
    for i, reference in enumerate(references):
        if (commit := pinned[i].commit) is not None:
            save_commit(reference.uri, pinned[i].fingerprint, commit)
    work.report(len(references), len(references), "references")
    return Made(
        values=Resolved(
            pins=[pinned[i].fingerprint[:PIN_LENGTH] for i in range(len(references))],
            complete=complete,
            parameters=[model.parameters for model in models.values()],
            weights_bytes=[model.weights_bytes for model in models.values()],
            licences=[terms(model.licence) for model in models.values()],
            memory_bytes={need.field: need.total for need in needs},
            disk_bytes=sum(item.bytes for item in disk),
        ),
        details={
            "references": [_details(r, pinned[i]) for i, r in enumerate(references)],
            "digests": stage_digests,
            "memory": memory,
            "disk": [vars(item) for item in disk],
        },
    )


def _pin_all(work: Work, references: Sequence[Reference], endpoint: str | None, faults: Faults) -> dict[int, Pinned]:
    """Pin the references that have no fault, by their index.

    If a hub or an object store cannot be reached, its other references are not looked up: each would wait, too.
    """
    pinned: dict[int, Pinned] = {}
    unreachable: set[str] = set()
    for number, reference in enumerate(references):
        work.report(number, len(references), "references")
        scheme = reference.uri.partition("://")[0]
        if scheme in unreachable:
            continue
        before = len(faults.infrastructure)
        with faults.collect():
            pinned[number] = pin(reference, endpoint)
            log.info("%s: %s is %s", reference.field, reference.uri, pinned[number].fingerprint)
        if len(faults.infrastructure) > before:
            unreachable.add(scheme)
    return pinned


def _complete(parameters: ResolveParameters, stage_digests: Mapping[str, str]) -> list[int]:
    return [
        index
        for index, stage in enumerate(parameters.stages)
        if is_complete(on_volume(artifact_dir(stage.kind, stage_digests[stage.name])), stage.kind, stage.shards)
    ]


def _details(reference: Reference, pinned: Pinned) -> dict[str, Any]:
    return {
        "field": reference.field,
        "uri": reference.uri,
        "revision": reference.revision,
        "fingerprint": pinned.fingerprint,
        "licence": pinned.licence,
        "weights_bytes": pinned.weights_bytes,
    }
