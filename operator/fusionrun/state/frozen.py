"""What is frozen: the spec and the images at a run's acceptance, and what ``resolve`` found.

Each is an immutable ConfigMap. Once it is there it is believed before the live spec and before our own code, both of
which may be others by now: an operator's upgrade changes no run.
"""

import json
from dataclasses import dataclass

from fusionrun import names
from fusionrun.api.models import Manifest
from fusionrun.api.parameters import ResolveParameters
from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec
from fusionrun.api.stage import PlannedStage
from fusionrun.api.task import decode_task
from fusionrun.objects import meta
from fusionrun.plan.defaults import fill
from fusionrun.plan.graph import digests
from fusionrun.plan.layout import Layout
from fusionrun.settings import Images
from fusionrun.state.live import Live
from fusionrun.state.observe import Observed, Phase, Workload


@dataclass(frozen=True)
class Acceptance:
    """The spec and the images that a run works by."""

    spec: FusionRunSpec
    images: Images
    to_keep: Manifest | None = None
    """The ConfigMap to create; None once the run is accepted."""


@dataclass(frozen=True)
class Resolution:
    """What ``resolve`` found."""

    pins: tuple[str, ...]
    """Fingerprint per reference of the plan."""
    complete: frozenset[str]
    """Stages whose artifact was there."""
    digests: dict[str, str]
    to_keep: Manifest | None = None
    """The ConfigMap to create; None once it is there."""


def acceptance(live: Live, observed: Observed, images: Images) -> Acceptance:
    """Return what the run was accepted with, the mutable fields of its spec as they are now.

    Parameters
    ----------
    live, observed
        The run, and its ConfigMaps.
    images
        The operator's own, for a run that is new.

    Raises
    ------
    pydantic.ValidationError
        If the spec breaks the schema.
    """
    run = live.run["metadata"]
    name = names.spec_config_map(run["name"])
    data = observed.config_maps.get(name)
    if data is None:
        spec = fill(FusionRunSpec.model_validate(live.run["spec"]))
        kept = {
            "spec.json": json.dumps(spec.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True),
            "images.json": json.dumps(vars(images), sort_keys=True),
        }
        owner = meta.Run(run["namespace"], run["name"], run["uid"], spec)
        return Acceptance(spec, images, meta.config_map(owner, name, meta.run_labels(owner), kept))
    fixed = {k: v for k, v in json.loads(data["spec.json"]).items() if k not in MUTABLE_FIELDS}
    mutable = {k: v for k, v in live.run["spec"].items() if k in MUTABLE_FIELDS}
    known = json.loads(data["images.json"])
    return Acceptance(
        FusionRunSpec.model_validate(fixed | mutable),
        Images(**{**known, "pull_secrets": tuple(known["pull_secrets"])}),
    )


def resolution(live: Live, observed: Observed, layout: Layout) -> Resolution | None:
    """Return what ``resolve`` found, as it was kept or as it has just told; None before that."""
    name = names.resolved_config_map(layout.run)
    data = observed.config_maps.get(name)
    if data is not None:
        pins = json.loads(data["pins.json"])
        kept = json.loads(data["digests.json"]) if "digests.json" in data else {}
        if any(stage.has_artifact and stage.name not in kept for stage in layout.plan.stages):
            kept = digests(layout.plan.planned(), pins) | kept  # kept by an operator that did not freeze them
        if "references.json" in data:
            pins = _in_order(dict(zip(json.loads(data["references.json"]), pins, strict=True)), layout)
        return Resolution(tuple(pins), frozenset(json.loads(data["complete.json"])), kept)
    workload = observed.stage("resolve").latest
    if workload is None or workload.phase is not Phase.SUCCEEDED or not workload.results:
        return None
    result = workload.results[0]
    fields, asked = _asked(live, workload, layout)
    if len(result.pins) != len(fields) or {r.field for r in layout.plan.references} - set(fields):
        return None
    found = digests(asked, result.pins)
    complete = sorted(asked[i].name for i in result.complete)
    owner = meta.Run(layout.namespace, layout.run, layout.uid, layout.spec)
    to_keep = meta.config_map(owner, name, meta.run_labels(owner), {
        "references.json": json.dumps(fields),
        "pins.json": json.dumps(result.pins),
        "complete.json": json.dumps(complete),
        "digests.json": json.dumps(found, sort_keys=True),
    })  # fmt: skip
    pins = _in_order(dict(zip(fields, result.pins, strict=True)), layout)
    return Resolution(tuple(pins), frozenset(complete), found, to_keep)


def _in_order(pins: dict[str, str], layout: Layout) -> list[str]:
    """Return the pins in the order of the plan's references, which another operator may list otherwise."""
    return [pins.get(reference.field, "") for reference in layout.plan.references]


def _asked(live: Live, workload: Workload, layout: Layout) -> tuple[list[str], list[PlannedStage]]:
    """Return the references' fields and the stages as ``resolve`` was given them: its answer is about these."""
    name = workload.manifest["metadata"]["name"]
    for child in live.children:
        if child["kind"] == "ConfigMap" and child["metadata"]["name"] == name:
            parameters = decode_task(child["data"]["task.json"]).parameters
            if isinstance(parameters, ResolveParameters):
                return [r.field for r in parameters.references], parameters.stages
    return [r.field for r in layout.plan.references], layout.plan.planned()
