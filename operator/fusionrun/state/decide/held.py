"""The decision on a run that cannot continue: an invalid spec, an operator that is too old, or changed ConfigMaps."""

from collections.abc import Callable
from dataclasses import replace

from fusionrun import __version__, names
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run_input import RunInput
from fusionrun.state.observe.accepted_run import accepted_by
from fusionrun.state.report import conditions
from fusionrun.state.report.stage_status import UNFINISHED, idle
from fusionrun.state.report.summary import RunReport


def refused(inputs: RunInput, message: str) -> Decision:
    """Fail a run whose spec is invalid, unless it was accepted with another one, which is gone."""
    if inputs.lacks_spec:
        return changed(inputs, names.spec_config_map)
    again = 0.0 if inputs.live.children else None  # to find out when its objects expire
    return replace(
        inputs.report(conditions.failed(Reason.INVALID_SPEC, message)),
        delete=inputs.observed.running_objects,
        requeue_seconds=again,
    )


def too_old(inputs: RunInput, problem: str) -> Decision:
    """Wait for a newer operator, which can continue the run."""
    version = accepted_by(inputs.frozen) or "0.1.0"
    message = (
        f"FusionRun {version} accepted this run, and the operator, FusionRun {__version__}, cannot continue it: "
        f"{problem}: upgrade the operator; until then it starts no stage and deletes no object"
    )
    return _hold(inputs, Reason.OPERATOR_TOO_OLD, message)


def changed(inputs: RunInput, config_map: Callable[[str], str]) -> Decision:
    """Wait, because a ConfigMap that the stages of the run depend on is gone or has other data."""
    name = config_map(inputs.live.run["metadata"]["name"])
    message = (
        f"ConfigMap {name} does not have the data with the digest in status: somebody deleted or replaced it: "
        "restore its data from a backup, or create a new run, which reuses finished artifacts; until then the operator "
        "starts no stage and deletes no object"
    )
    return _hold(inputs, Reason.ACCEPTED_SPEC_CHANGED, message)


def _hold(inputs: RunInput, reason: Reason, message: str) -> Decision:
    """Start nothing, and delete nothing unless the run is suspended."""
    before = inputs.before
    report = RunReport(before.stages, before.results, before.dataset)
    if not inputs.live.run["spec"].get("suspend"):
        return inputs.report(conditions.in_progress(message, reason), report)
    report = replace(report, stages=[_suspended(s) for s in before.stages])
    suspended = inputs.report(conditions.suspended(Reason.SUSPENDED, f"spec.suspend is true; {message}"), report)
    return replace(suspended, delete=inputs.observed.running_objects, events=())


def _suspended(stage: StageStatus) -> StageStatus:
    if stage.state not in UNFINISHED:
        return stage
    return idle(stage, stage, StageState.PENDING, Reason.SUSPENDED, "suspended")
