"""The decision on a finished run: retry it if it has failed and an annotation asks for it, or else clean up."""

from dataclasses import replace

from fusionrun.api.status.stages import StageState
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.deletions import expired, lost_pods
from fusionrun.state.decide.run_input import RunInput
from fusionrun.state.decide.run_retry import failure, last_value, retry
from fusionrun.state.observe.object_ref import ObjectRef
from fusionrun.state.report import summary


def finished(inputs: RunInput) -> Decision:
    """Retry a failed run if a new annotation requests it; else clean up."""
    live, before = inputs.live, inputs.before
    failed = failure(before)
    if failed is None or last_value(live.run, before) == before.retry:
        return _clean_up(inputs)
    status = retry(live.run, inputs.observed, before, failed, inputs.now, inputs.with_gpu_time)
    return replace(inputs.changed_to(status), delete=_still_running(inputs), requeue_seconds=0.0)


def _clean_up(inputs: RunInput) -> Decision:
    """Delete what still runs of a finished run, its lost pods, and the objects whose time to live is over."""
    lost: tuple[list[ObjectRef], float | None] = [], None
    status = inputs.before.model_copy(update={"retry": last_value(inputs.live.run, inputs.before)})
    if status.gpus_observed_time:  # pods were still terminating
        status = summary.with_gpu_time(status, inputs.gpu_time, inputs.settings.accelerators.currency)
        lost = lost_pods(inputs.observed, inputs.now)  # until then, their GPU time is counted
    decision = inputs.changed_to(summary.with_generation(status, inputs.generation))
    due, next_due = expired(inputs.live, inputs.before, inputs.now)
    delete = tuple(dict.fromkeys([*_still_running(inputs), *due, *lost[0]]))
    times = [seconds for seconds in (next_due, lost[1]) if seconds is not None]
    return replace(decision, delete=delete, requeue_seconds=min(times, default=None))


def _still_running(inputs: RunInput) -> tuple[ObjectRef, ...]:
    """Return the objects to delete so that every stage stops.

    The last Job of a stage that has succeeded ends by itself: its controller has not counted the last pod yet. Too
    little is kept of the pods of a finished run to see that.
    """
    succeeded = (s.name for s in inputs.before.stages if s.state is StageState.SUCCEEDED)
    latest = (inputs.observed.stage(name).latest for name in succeeded)
    ended = {workload.ref for workload in latest if workload and not workload.is_server}
    return tuple(ref for ref in inputs.observed.running_objects if ref not in ended)
