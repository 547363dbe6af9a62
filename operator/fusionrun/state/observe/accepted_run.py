"""What a run keeps from its acceptance: its spec, images and stages, and the result of ``resolve``.

Both are in immutable ConfigMaps, which take precedence over the live spec, the operator's settings and its plan: an
upgrade of the operator does not change a run that was accepted before. ``state.observe.frozen`` decides whether the
data of a ConfigMap is believed.

The operator continues a run that a newer release accepted only if both releases compute the same digests of artifacts.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fusionrun import __version__, names
from fusionrun.api.artifacts import digests
from fusionrun.api.contract import Manifest
from fusionrun.api.results.values import Resolved
from fusionrun.api.spec.mutable import with_mutable_fields
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import PlannedStage
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.api.tasks.parameters import ResolveParameters
from fusionrun.api.tasks.task import decode_task, task_digest
from fusionrun.errors import ContractError
from fusionrun.objects import meta
from fusionrun.plan.defaults import fill
from fusionrun.plan.earlier_releases import with_features
from fusionrun.plan.families import preflight
from fusionrun.plan.pinned import Feature, PinnedPlan
from fusionrun.plan.stages import Plan
from fusionrun.settings import Images, Settings
from fusionrun.state.observe.backends import with_backend
from fusionrun.state.observe.frozen import Frozen, data_digest
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.observed import Observed
from fusionrun.state.observe.workloads import Phase, Workload

SPEC_MAX_BYTES = 960 * 1024
"""Largest size of the data of ``RUN-spec``: that of a ConfigMap, less some space for the task of a stage, which may
contain most of the spec. Source: Kubernetes, "ConfigMaps": at most 1 MiB.
"""


@dataclass(frozen=True)
class Acceptance:
    """The spec, images and stages with which a run was accepted."""

    spec: FusionRunSpec
    images: Images
    is_new: bool = False
    """Whether the run is being accepted now: its ConfigMap (``config_map``) does not exist yet."""
    features: frozenset[Feature] = frozenset()
    """Features of the release that accepted the run; without those that this release does not know."""
    stages: tuple[str, ...] | None = None
    """Stages of the plan at acceptance that have an artifact; None for all stages of the current plan."""
    original: FusionRunSpec | None = None
    """The spec with the values that mutable fields had at acceptance; None if this release cannot read one of them."""
    digest: str | None = None
    """Digest of the data of the ConfigMap; None if the run is being accepted now."""

    @property
    def publish_endpoint(self) -> str | None:
        """URL of the hub to publish to. It gets a token that can write, so ``hub`` is the one at acceptance."""
        spec = self.original or self.spec
        return spec.hub.endpoint if spec.hub else None

    def adopt(self, plan: Plan) -> Plan:
        """Return the plan as the release that accepted the run could run it, and with its stages only.

        The checks of ``preflight`` have the pods at acceptance in their digests.
        """
        plan = with_features(plan, self.spec, self.features)
        plan = preflight.with_environment(plan, self.original or self.spec, self.images)
        return plan if self.stages is None else plan.only(self.stages)

    def config_map(self, pinned: PinnedPlan) -> Manifest:
        """Return the immutable ConfigMap to create."""
        spec = self.spec.model_dump(mode="json", exclude_none=True)
        return meta.config_map(pinned, names.spec_config_map(pinned.name), meta.run_labels(pinned), {
            "spec.json": json.dumps(spec, sort_keys=True),
            "images.json": json.dumps(vars(self.images), sort_keys=True),
            "stages.json": json.dumps([s.name for s in pinned.plan.planned()]),
            "features.json": json.dumps(sorted(self.features)),
            "version": __version__,
        })  # fmt: skip


@dataclass(frozen=True)
class Resolution:
    """The result of ``resolve``."""

    pins: tuple[str, ...]
    """Fingerprint per reference of the plan."""
    complete: frozenset[str]
    """Stages whose artifact was complete."""
    digests: dict[str, str]
    digest: str
    """Digest of the data of its ConfigMap."""
    config_map: Manifest | None = None
    """The ConfigMap to create; None if it exists."""


def acceptance(live: LiveObjects, frozen: Frozen, settings: Settings) -> Acceptance:
    """Return the spec, images and stages with which the run was accepted; mutable fields have their current values.

    The images of a new run are those of the settings. If another release accepted the run, fields that this release
    does not know are ignored, and images that the other release did not know are taken from the settings.

    Raises
    ------
    pydantic.ValidationError
        If the spec violates the schema, or if the spec of a new run has an unknown field.
    """
    data, images = frozen.spec, settings.images
    if data is None:
        spec = fill(FusionRunSpec.model_validate(live.run["spec"], extra="forbid"))
        spec = with_backend(spec, live.run, live.present)
        return Acceptance(spec, images, is_new=True, features=features(settings))
    original = json.loads(data["spec.json"])
    kept = json.loads(data["images.json"])
    known = vars(images) | {f.name: kept[f.name] for f in dataclasses.fields(Images) if f.name in kept}
    resolved = frozen.resolved or {}
    # 0.1.0 did not write stages.json.
    stages = json.loads(data.get("stages.json") or resolved.get("digests.json") or "null")
    return Acceptance(
        FusionRunSpec.model_validate(with_mutable_fields(original, live.run["spec"])),
        Images(**known | {"pull_secrets": tuple(known["pull_secrets"])}),
        features=frozenset(map(Feature, {*json.loads(data.get("features.json", "[]"))} & {*Feature})),
        stages=None if stages is None else tuple(stages),
        original=_read(original),
        digest=data_digest(data),
    )


def exceeds_config_map(config_map: Manifest) -> str:
    """Return why a spec does not fit into its ConfigMap; empty if it does."""
    size = sum(len(text.encode()) for text in config_map["data"].values())
    if size <= SPEC_MAX_BYTES:
        return ""
    spec = json.loads(config_map["data"]["spec.json"])
    sizes = {name: len(json.dumps(value)) for name, value in spec.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    return (
        f"spec: {size} bytes as ASCII JSON with all defaults: must be at most {SPEC_MAX_BYTES}, "
        f"since the run keeps it in ConfigMap {config_map['metadata']['name']}: "
        f"shorten spec.{largest} ({sizes[largest]} bytes)"
    )


def features(settings: Settings) -> frozenset[Feature]:
    """Return the features of a run that is accepted now. Its servers ask for a key if the operator has one."""
    return frozenset(Feature) if settings.server_key else frozenset(Feature) - {Feature.SERVER_KEY}


def _read(spec: dict[str, Any]) -> FusionRunSpec | None:
    try:
        return FusionRunSpec.model_validate(spec)
    except ValidationError:
        return None


def accepted_by(frozen: Frozen) -> str | None:
    """Return the release that accepted the run: None before acceptance, empty for 0.1.0, which did not write it."""
    return None if frozen.spec is None else frozen.spec.get("version", "")


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version such as ``0.3.0``, to compare releases."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def resolution(
    live: LiveObjects, observed: Observed, frozen: Frozen, pinned: PinnedPlan, status: FusionRunStatus
) -> Resolution | None:
    """Return the result of ``resolve`` from its ConfigMap, else from its pod, else from the status; None without any.

    Raises
    ------
    ContractError
        If a newer release accepted the run and this release computes other digests for it.
    """
    resolved = _resolution(live, observed, frozen, pinned) or _from_status(status, pinned)
    version, name = accepted_by(frozen) or "", names.resolved_config_map(pinned.name)
    if resolved is None or _numbers(version) <= _numbers(__version__):
        return resolved
    if resolved.digests != digests(pinned.plan.planned(), list(resolved.pins)):
        raise ContractError(version, f"its artifacts would differ: ConfigMap {name} has other digests")
    return resolved


def _resolution(live: LiveObjects, observed: Observed, frozen: Frozen, pinned: PinnedPlan) -> Resolution | None:
    data = frozen.resolved
    if data is not None:
        fields, pins, complete, by_stage = (
            json.loads(data[f"{key}.json"]) for key in ("references", "pins", "complete", "digests")
        )
        pins = _in_order(dict(zip(fields, pins, strict=True)), pinned)
        return Resolution(tuple(pins), frozenset(complete), by_stage, data_digest(data))
    workload = observed.stage("resolve").latest
    if workload is None or workload.phase is not Phase.SUCCEEDED or not workload.results:
        return None
    result = workload.results[0].values
    if not isinstance(result, Resolved):
        return None
    fields, stages = _resolve_task(live, workload, pinned)
    if len(result.pins) != len(fields) or {r.field for r in pinned.plan.references} - set(fields):
        return None
    return _new(pinned, fields, result.pins, [stages[i].name for i in result.complete], digests(stages, result.pins))


def _new(
    pinned: PinnedPlan, fields: list[str], pins: list[str], complete: Collection[str], by_stage: dict[str, str]
) -> Resolution:
    """Return a resolution with the ConfigMap to create."""
    name = names.resolved_config_map(pinned.name)
    config_map = meta.config_map(pinned, name, meta.run_labels(pinned), {
        "references.json": json.dumps(fields),
        "pins.json": json.dumps(pins),
        "complete.json": json.dumps(sorted(complete)),
        "digests.json": json.dumps(by_stage, sort_keys=True),
    })  # fmt: skip
    in_order = _in_order(dict(zip(fields, pins, strict=True)), pinned)
    return Resolution(tuple(in_order), frozenset(complete), by_stage, data_digest(config_map["data"]), config_map)


def _from_status(status: FusionRunStatus, pinned: PinnedPlan) -> Resolution | None:
    """Make the data of ``RUN-resolved`` again, with the digest in the status; None if that is not possible.

    A release that computes other digests of artifacts cannot, nor can it if the status has no pins (0.2.0). The status
    shows each complete artifact as a cache hit, except those of stages that always run: each combination is tried.
    """
    fields = [reference.field for reference in pinned.plan.references]
    if status.resolved_digest is None or len(status.pins) != len(fields):
        return None
    planned = pinned.plan.planned()
    by_stage = digests(planned, status.pins)
    hits = [s.name for s in status.stages if s.cache_hit]
    always = [s.name for s in planned if pinned.plan[s.name].traits.report]
    for more in _subsets(always):
        found = _new(pinned, fields, status.pins, [*hits, *more], by_stage)
        if found.digest == status.resolved_digest:
            return found
    return None


def _subsets(items: Sequence[str]) -> itertools.chain[tuple[str, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(items, size) for size in range(len(items) + 1))


def _in_order(pins: dict[str, str], pinned: PinnedPlan) -> list[str]:
    """Return the pins in the order of the plan's references; another release may order them differently."""
    return [pins.get(reference.field, "") for reference in pinned.plan.references]


def _resolve_task(live: LiveObjects, workload: Workload, pinned: PinnedPlan) -> tuple[list[str], list[PlannedStage]]:
    """Return the fields of the references and the stages in the task of ``resolve``, which its result refers to."""
    metadata = workload.manifest["metadata"]
    recorded = (metadata.get("annotations") or {}).get(names.ANNOTATION_TASK)  # 0.2.0 recorded none
    for child in live.children:
        if child["kind"] == "ConfigMap" and child["metadata"]["name"] == metadata["name"]:
            text = child["data"]["task.json"]
            if recorded and task_digest(text.encode()) != recorded:
                continue  # somebody replaced it
            parameters = decode_task(text).parameters
            if isinstance(parameters, ResolveParameters):
                return [r.field for r in parameters.references], parameters.stages
    return [r.field for r in pinned.plan.references], pinned.plan.planned()
