"""Every fault of a FusionRun that can be found without a cluster. Nothing here reads a file or prints."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fusionrun import __version__, names
from fusionrun.api.crd.definition import build_crd
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.cli import schema
from fusionrun.cli.documents import Document
from fusionrun.errors import SpecError
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import descriptions, fill
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.policy import violations
from fusionrun.plan.spec_warnings import spec_warnings
from fusionrun.settings import Images, Settings
from fusionrun.state.decide.prerequisites import over_budget
from fusionrun.state.observe.accepted_run import Acceptance, exceeds_config_map
from fusionrun.state.observe.backends import with_backend

DEFAULT_SETTINGS = Settings(Images(data="", serve="", train="", reward="", sandbox=""))
"""The defaults of the chart, for a check without the settings of an operator."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""Source: Kubernetes, "Object Names and IDs", DNS subdomain names."""


@dataclass(frozen=True, order=True)
class Fault:
    """A violated rule, with its place in a file."""

    line: int
    field: str
    value: str
    rule: str


def is_run(document: Document) -> bool:
    """Return whether an object is a FusionRun, or seems to be meant as one."""
    return document.kind == names.KIND or document.api_version.partition("/")[0] == names.GROUP


def faults(document: Document, settings: Settings = DEFAULT_SETTINGS) -> list[Fault]:
    """Return every fault of a FusionRun by line: YAML, schema, rules in CEL, and the checks of the operator.

    The operator's checks need a valid structure; unknown fields are left out for them.
    """
    errors = [*_identity(document)]
    spec = document.value.get("spec") if isinstance(document.value, dict) else None
    if spec is None:
        errors.append(SpecError("spec", None, "is required"))
    else:
        spec = schema.without_nulls(spec, _schema())
        found = list(schema.check(spec, _schema(), "spec"))
        rules = [error.rule for error in found if isinstance(error, schema.RuleError)]
        errors += [
            *found,
            *(e for e in _of_operator(document.name, spec, found, settings) if not _restates(e.rule, rules)),
        ]
    placed = [_placed(document, error) for error in errors]
    twice = [Fault(line, key, "", "the key occurs twice in its mapping") for line, key in document.repeated]
    return sorted({(f.line, f.field, f.rule): f for f in [*placed, *twice]}.values())


def _restates(rule: str, rules: list[str]) -> bool:
    """Return whether the operator repeats a rule of admission; that of admission may begin with the field."""
    return any(rule in other or other.partition(" ")[2] in rule for other in rules)


def warnings_of(document: Document, settings: Settings = DEFAULT_SETTINGS) -> list[Fault]:
    """Return what the operator warns of when it accepts a FusionRun that has no fault."""
    fields = schema.without_nulls(document.value["spec"], _schema())
    spec = read_spec(fields)
    found = spec_warnings(FusionRunSpec.model_validate(fields), spec, build_plan(spec), settings)
    return [_placed(document, SpecError(f"spec.{each.field}", each.value, each.rule)) for each in found]


def _placed(document: Document, error: SpecError) -> Fault:
    return Fault(document.line(error.field), error.field, repr(error.value), error.rule)


def read_spec(spec: dict[str, Any]) -> FusionRunSpec:
    """Return a valid spec with its defaults, as in a cluster without a training operator.

    Raises
    ------
    pydantic.ValidationError
        If a field has another type than in the schema.
    """
    return with_backend(fill(FusionRunSpec.model_validate(spec)), {}, {})


@functools.cache
def _schema() -> schema.Schema:
    versions = build_crd(descriptions())["spec"]["versions"]
    found: schema.Schema = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def _identity(document: Document) -> Iterator[SpecError]:
    if document.api_version != names.API_VERSION:
        yield SpecError("apiVersion", document.api_version, f"must be {names.API_VERSION}")
    if document.kind != names.KIND:
        yield SpecError("kind", document.kind, f"must be {names.KIND}")
    for name in document.value if isinstance(document.value, dict) else ():
        if name not in ("apiVersion", "kind", "metadata", "spec", "status"):
            yield schema.UnknownFieldError(str(name), "...", "a FusionRun has no such field")
    if not document.name and not _generates_name(document):
        yield SpecError("metadata.name", None, "is required")
    elif len(document.name) > names.RUN_NAME_MAX:
        yield SpecError("metadata.name", document.name, f"must be at most {names.RUN_NAME_MAX} characters")
    elif document.name and not _NAME.fullmatch(document.name):
        yield SpecError("metadata.name", document.name, "must be a lowercase DNS subdomain name")


def _generates_name(document: Document) -> bool:
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("generateName"))


def _of_operator(name: str, spec: Any, known: list[SpecError], settings: Settings) -> list[SpecError]:
    """Return the faults that the operator finds when it accepts the run; none if the structure is not valid."""
    if any(not isinstance(error, schema.UnknownFieldError | schema.RuleError) for error in known):
        return []
    unknown: list[SpecError] = []
    try:
        FusionRunSpec.model_validate(spec, extra="forbid")
    except ValidationError as error:  # the schema of the CRD has no fields of affinity
        unknown = [_unknown(each["loc"], each["input"]) for each in error.errors() if each["type"] == "extra_forbidden"]
    filled = read_spec(spec)
    errors = [*check_spec(filled), *violations(filled, settings.policy)]
    if not errors and not known:
        errors = _of_plan(name, filled, settings)
    fields = {error.field for error in known}
    found = [SpecError(f"spec.{error.field}".rstrip("."), error.value, error.rule) for error in errors]
    return [*(error for error in unknown if error.field not in fields), *found]


def _unknown(place: tuple[int | str, ...], value: object) -> SpecError:
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return SpecError(f"spec{field}", value, f"FusionRun {__version__} has no such field")


def _of_plan(name: str, spec: FusionRunSpec, settings: Settings) -> list[SpecError]:
    """Return why the run would wait for ever, or not fit into its ConfigMap."""
    plan = build_plan(spec)
    budget = spec.scheduling.gpu_budget
    waits = over_budget(plan, spec, settings.accelerators)
    errors = [SpecError("scheduling.gpuBudget", budget, missing.message.split(": ", 2)[-1]) for missing in waits]
    config_map = Acceptance(spec, settings.images).config_map(PinnedPlan("", name, "", spec, plan, (), {}))
    if text := exceeds_config_map(config_map):
        errors.append(SpecError("", "...", text.partition(": ")[2]))
    return errors
