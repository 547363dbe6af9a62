"""What is frozen: the spec, the images and the stages at a run's acceptance, and what ``resolve`` found.

Each is an immutable ConfigMap. Once it is there it takes precedence over the live spec and over the operator's own
settings and plan, which may have changed since: an upgrade of the operator changes no run that was accepted before.

A run that a newer release accepted is continued only where this release would make the same artifacts: the digests that
``resolve`` was given by the newer one must be those that this one computes.
"""

import dataclasses
import json
import re
from dataclasses import dataclass

from fusionrun import __version__, names
from fusionrun.api.models import Manifest
from fusionrun.api.parameters import ResolveParameters
from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec
from fusionrun.api.stage import PlannedStage
from fusionrun.api.task import decode_task
from fusionrun.errors import ContractError
from fusionrun.objects import meta
from fusionrun.plan.defaults import fill
from fusionrun.plan.graph import digests
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Plan
from fusionrun.settings import Images
from fusionrun.state.live import Live
from fusionrun.state.observe import Observed, Phase, Workload


@dataclass(frozen=True)
class Acceptance:
    """The spec and the images that a run works by."""

    spec: FusionRunSpec
    images: Images
    is_new: bool = False
    """Whether the run is accepted now: its ConfigMap (``to_keep``) is still to be created."""
    stages: tuple[str, ...] | None = None
    """The plan's stages at acceptance, those with an artifact; None where all of the present plan count."""

    def adopt(self, plan: Plan) -> Plan:
        """Return the plan without the stages that a newer release has added since the run was accepted."""
        return plan if self.stages is None else plan.only(self.stages)

    def to_keep(self, layout: PinnedPlan) -> Manifest:
        """Return the immutable ConfigMap that keeps all this."""
        owner = meta.Run(layout.namespace, layout.run, layout.uid, self.spec)
        spec = self.spec.model_dump(mode="json", exclude_none=True)
        return meta.config_map(owner, names.spec_config_map(layout.run), meta.run_labels(owner), {
            "spec.json": json.dumps(spec, sort_keys=True),
            "images.json": json.dumps(vars(self.images), sort_keys=True),
            "stages.json": json.dumps([s.name for s in layout.plan.planned()]),
            "version": __version__,
        })  # fmt: skip


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

    Where the run was accepted earlier, what is unknown to this release is ignored, and what was unknown to that release
    is as this operator has it.

    Parameters
    ----------
    live, observed
        The run, and its ConfigMaps.
    images
        The operator's own, for a run that is new.

    Raises
    ------
    pydantic.ValidationError
        If the spec breaks the schema; of a run that is new, if it has an unknown field, too.
    """
    run = live.run["metadata"]["name"]
    data = observed.config_maps.get(names.spec_config_map(run))
    if data is None:
        return Acceptance(fill(FusionRunSpec.model_validate(live.run["spec"], extra="forbid")), images, is_new=True)
    fixed = {k: v for k, v in json.loads(data["spec.json"]).items() if k not in MUTABLE_FIELDS}
    mutable = {k: v for k, v in live.run["spec"].items() if k in MUTABLE_FIELDS}
    kept = json.loads(data["images.json"])
    known = vars(images) | {f.name: kept[f.name] for f in dataclasses.fields(Images) if f.name in kept}
    resolved = observed.config_maps.get(names.resolved_config_map(run), {})
    # 0.1.0 kept no list of the stages.
    stages = json.loads(data.get("stages.json") or resolved.get("digests.json") or "null")
    return Acceptance(
        FusionRunSpec.model_validate(fixed | mutable),
        Images(**known | {"pull_secrets": tuple(known["pull_secrets"])}),
        stages=None if stages is None else tuple(stages),
    )


def accepted_by(live: Live, observed: Observed) -> str | None:
    """Return the version that accepted the run: None before its acceptance, empty for 0.1.0, which kept none."""
    data = observed.config_maps.get(names.spec_config_map(live.run["metadata"]["name"]))
    return None if data is None else data.get("version", "")


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version such as ``0.3.0``, by which releases are in order."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def resolution(live: Live, observed: Observed, layout: PinnedPlan) -> Resolution | None:
    """Return what ``resolve`` found, as it was kept or as it has just told; None before that.

    Raises
    ------
    ContractError
        If a newer release accepted the run, and this one would make other artifacts for it.
    """
    found = _resolution(live, observed, layout)
    version = accepted_by(live, observed) or ""
    if found is None or _numbers(version) <= _numbers(__version__):
        return found
    if found.digests != digests(layout.plan.planned(), list(found.pins)):
        raise ContractError(version, "it would make other artifacts, whose digests are not those in RUN-resolved")
    return found


def _resolution(live: Live, observed: Observed, layout: PinnedPlan) -> Resolution | None:
    name = names.resolved_config_map(layout.run)
    data = observed.config_maps.get(name)
    if data is not None:
        fields, pins, complete, found = (
            json.loads(data[f"{key}.json"]) for key in ("references", "pins", "complete", "digests")
        )
        pins = _in_order(dict(zip(fields, pins, strict=True)), layout)
        return Resolution(tuple(pins), frozenset(complete), found)
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


def _in_order(pins: dict[str, str], layout: PinnedPlan) -> list[str]:
    """Return the pins in the order of the plan's references, which another operator may list otherwise."""
    return [pins.get(reference.field, "") for reference in layout.plan.references]


def _asked(live: Live, workload: Workload, layout: PinnedPlan) -> tuple[list[str], list[PlannedStage]]:
    """Return the references' fields and the stages as ``resolve`` was given them: its answer is about these."""
    name = workload.manifest["metadata"]["name"]
    for child in live.children:
        if child["kind"] == "ConfigMap" and child["metadata"]["name"] == name:
            parameters = decode_task(child["data"]["task.json"]).parameters
            if isinstance(parameters, ResolveParameters):
                return [r.field for r in parameters.references], parameters.stages
    return [r.field for r in layout.plan.references], layout.plan.planned()
