"""What the operator says about the spec of a run: why it is not accepted, or not allowed any more, and its warnings."""

from pydantic import ValidationError

from fusionrun import __version__
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import Reason
from fusionrun.errors import SpecError
from fusionrun.plan.checks import check_security, check_spec
from fusionrun.plan.pod_size import too_large
from fusionrun.plan.policy import violations
from fusionrun.plan.spec_warnings import spec_warnings
from fusionrun.plan.stages import Plan
from fusionrun.settings import Policy, Settings
from fusionrun.state.decide.run_input import RunInput
from fusionrun.state.observe.accepted_run import Acceptance
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.report.events import Event


def errors_of(spec: FusionRunSpec, live: LiveObjects, settings: Settings) -> list[SpecError]:
    """Return why a new run is not accepted."""
    errors = [*check_spec(spec), *violations(spec, settings.policy)]
    return errors or [*too_large(spec, settings.policy.max_gpus_per_pod, live.nodes)]


def violated(accepted: Acceptance, policy: Policy) -> list[SpecError]:
    """Return the rules that an accepted run violates: by the values that have changed since, or those of security."""
    spec, original = accepted.spec, accepted.original
    errors = {str(e): e for e in check_security(spec)}
    if original is None:  # this release cannot read it, so it does not know what has changed
        changed = violations(spec, policy)
    elif original == spec:
        changed = []
    else:
        known = {str(e) for e in [*check_spec(original), *violations(original, policy)]}
        changed = [e for e in [*check_spec(spec), *violations(spec, policy)] if str(e) not in known]
    return list((errors | {str(e): e for e in changed}).values())


def warnings(inputs: RunInput, accepted: Acceptance, plan: Plan) -> list[Event]:
    """Return the events on the spec of a run that is being accepted; none if a decision before this one had them."""
    if not accepted.is_new or inputs.before.training_backend:
        return []
    written = FusionRunSpec.model_validate(inputs.live.run["spec"])
    found = spec_warnings(written, accepted.spec, plan, inputs.settings)
    return [Event("Warning", Reason.SPEC_WARNING, f"spec.{each}") for each in found]


def as_text(errors: list[SpecError]) -> str:
    """Return errors as the message of a condition."""
    return "; ".join(f"spec.{e}" for e in errors)[:2000]


def first_error(error: ValidationError) -> str:
    """Return the first invalid field, its value and the rule."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    unknown = f"FusionRun {__version__} has no such field: correct its name, or upgrade the operator"
    rule = unknown if first["type"] == "extra_forbidden" else first["msg"]
    return str(SpecError(f"spec.{field}", first.get("input"), rule))[:1000]
