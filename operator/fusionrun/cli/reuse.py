"""Which stages of a new run have an artifact already, as far as the objects of earlier runs tell.

``resolve`` decides this in a run: it pins every model and data set, computes the digest of each stage and looks for its
artifact on the claim. From outside, the claim cannot be read. Instead, the pins of earlier runs of the namespace are
taken for the same references, and the stages that these runs ended. So the answer holds only if no model and no data
set has changed since, and if nobody has deleted artifacts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fusionrun import names
from fusionrun.api.artifacts import digests
from fusionrun.api.contract import Manifest
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import Reference, StageKind
from fusionrun.plan.families.preflight import with_environment
from fusionrun.plan.graph import needed
from fusionrun.plan.references import References
from fusionrun.plan.stages import Plan
from fusionrun.settings import Images


@dataclass(frozen=True)
class EarlierRun:
    """What an earlier run found and made."""

    name: str
    spec: FusionRunSpec
    images: Images
    pins: dict[str, str]
    """By the field of the reference."""
    made: dict[str, str]
    """Digest by stage, of the stages whose artifact was complete or was made."""
    created: str
    """Time of the creation of the run, in the format of Kubernetes."""


@dataclass(frozen=True)
class Reuse:
    """What a new run takes from earlier ones."""

    found: dict[str, str]
    """By stage with a complete artifact: the run that had it."""
    unknown: tuple[str, ...]
    """Stages that depend on a reference that no earlier run has pinned."""
    unpinned: tuple[str, ...]
    """Fields of these references."""
    to_run: frozenset[str]
    """Stages that run, if the assumptions hold."""


def earlier_runs(runs: Iterable[Manifest], config_maps: Iterable[Manifest]) -> list[EarlierRun]:
    """Return the runs whose two ConfigMaps exist, the newest first. One that this release cannot read is left out."""
    data = {each["metadata"]["name"]: each.get("data") or {} for each in config_maps}
    found = [each for run in runs if (each := _earlier(run, data)) is not None]
    return sorted(found, key=lambda run: run.created, reverse=True)


def _earlier(run: Manifest, data: Mapping[str, Mapping[str, str]]) -> EarlierRun | None:
    name = run["metadata"]["name"]
    accepted, resolved = data.get(names.spec_config_map(name)), data.get(names.resolved_config_map(name))
    if not accepted or not resolved:
        return None
    try:
        spec = FusionRunSpec.model_validate_json(accepted["spec.json"])
        images = Images(**json.loads(accepted["images.json"]))
        fields, pins, complete, by_stage = (
            json.loads(resolved[f"{key}.json"]) for key in ("references", "pins", "complete", "digests")
        )
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    ended = {stage["name"] for stage in _stages(run) if stage.get("state") == "Succeeded"}
    made = {stage: digest for stage, digest in by_stage.items() if stage in {*complete, *ended}}
    created = run["metadata"].get("creationTimestamp") or ""
    return EarlierRun(name, spec, images, dict(zip(fields, pins, strict=False)), made, created)


def _stages(run: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (run.get("status") or {}).get("stages") or []
    return found


def reuse(spec: FusionRunSpec, plan: Plan, earlier: Iterable[EarlierRun]) -> Reuse:
    """Return what a new run with this plan takes from earlier runs of its namespace with the same claim."""
    same_claim = [run for run in earlier if run.spec.storage.claim_name == spec.storage.claim_name]
    if same_claim:
        plan = with_environment(plan, spec, same_claim[0].images)
    known = {key: pin for run in reversed(same_claim) for key, pin in _pins(run)}
    pins = [known.get(_key(spec, reference), "") for reference in plan.references]
    unpinned = {index for index, pin in enumerate(pins) if not pin}
    unknown: set[str] = set()
    by_stage = digests(plan.planned(), pins)
    for stage in plan.stages:
        if stage.kind is not StageKind.RESOLVE and (unpinned & {*stage.pins} or unknown & {*stage.inputs}):
            unknown.add(stage.name)
    made = {digest: run.name for run in reversed(same_claim) for digest in run.made.values()}
    found = {name: made[digest] for name, digest in by_stage.items() if digest in made and name not in unknown}
    return Reuse(
        found=found,
        unknown=tuple(stage.name for stage in plan.stages if stage.name in unknown),
        unpinned=tuple(plan.references[index].field for index in sorted(unpinned)),
        to_run=needed(plan, frozenset(found)),
    )


def _pins(run: EarlierRun) -> Iterator[tuple[str, str]]:
    for reference in References(run.spec).all:
        if pin := run.pins.get(reference.field):
            yield _key(run.spec, reference), pin


def _key(spec: FusionRunSpec, reference: Reference) -> str:
    """Return what the pin of a reference depends on, apart from the content."""
    endpoint = spec.hub.endpoint if spec.hub and reference.uri.startswith("hf://") else None
    return f"{endpoint} {reference.model_dump_json(exclude={'field'})}"
