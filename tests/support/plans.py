"""Plans of the small FusionRun, and of any other spec, as after ``resolve``."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.artifacts import digests
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.training import Backend
from fusionrun.names import digest_of
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.pinned import Feature, PinnedPlan
from fusionrun.plan.stages import Plan
from fusionrun.state.observe.backends import needed_for, with_backend
from support.runs import UID, make_spec


def read(spec: dict[str, Any]) -> FusionRunSpec:
    """Read a spec and set its defaults, as in a cluster with the Kubeflow training operator."""
    present = dict.fromkeys(needed_for(Backend.PYTORCH_JOB), True)
    return with_backend(fill(FusionRunSpec.model_validate(spec)), {}, present)


def filled(**changes: Any) -> FusionRunSpec:
    """Return the small spec with changed fields and its defaults."""
    return read(make_spec(**changes))


def plan_of(**changes: Any) -> Plan:
    """Return the plan of the small spec with changed fields."""
    return build_plan(filled(**changes))


def pinned_of(name: str, spec: dict[str, Any], pins: Sequence[str] | None = None) -> PinnedPlan:
    """Return the pinned plan of a spec, by default with a different pin for each reference."""
    full = read(spec)
    plan = build_plan(full)
    pins = tuple(f"{i:012x}" for i, _ in enumerate(plan.references)) if pins is None else tuple(pins)
    endpoint = full.hub.endpoint if full.hub else None
    by_stage = digests(plan.planned(), list(pins))
    extra = {"publish_endpoint": endpoint, "features": frozenset(Feature)}
    return PinnedPlan("lab", name, UID, full, plan, pins, by_stage, **extra)


def pinned_by_uri(spec: dict[str, Any]) -> PinnedPlan:
    """Return the pinned plan of a spec, with pins that depend only on URI and revision."""
    references = build_plan(read(spec)).references
    return pinned_of("tiny", spec, [digest_of(r.uri, r.revision or "", length=12) for r in references])
