"""How long the stages of a run have taken, and how long earlier stages with the same work took."""

from datetime import datetime

from fusionrun.api.status.stages import StageWork
from fusionrun.api.storable import bounded
from fusionrun.plan.stages import Stage
from fusionrun.plan.work import work_digest
from fusionrun.state.decide.context import Context
from fusionrun.state.observe.object_fields import pod_phase
from fusionrun.state.observe.workloads import Workload


def measured_times(context: Context) -> dict[str, float]:
    """Return the time of the latest earlier stage with the same work, by the name of each stage that has one.

    Stages of this run come first: they ran on the same nodes.
    """
    own = {work.digest: work.seconds for status in context.previous.values() if (work := status.work)}
    found = ((name, own.get(digest) or context.work.get(digest)) for name, digest in _digests(context).items())
    return {name: float(seconds) for name, seconds in found if seconds}


def measure(context: Context, stage: Stage, workload: Workload, ended: datetime) -> StageWork | None:
    """Return the work of a stage that has succeeded; None if its time says nothing about the next one.

    That is so if it was interrupted, or if it found results of an earlier run.
    """
    digest, placed = _digests(context).get(stage.name), workload.placed
    client = context.pinned.plan.client_of(stage) if stage.traits.is_server else stage
    done = context.observed_stage(client).latest
    if digest is None or placed is None or done is None:
        return None
    known = [status for each in (stage, client) if (status := context.previous.get(each.name))]
    if workload.attempt or any(status.failures or status.disruptions for status in known):
        return None
    if any(pod_phase(pod) == "Failed" for pod in done.pods) or any(result.cached for result in done.results):
        return None
    return StageWork(digest=digest, seconds=bounded(max((ended - placed).total_seconds(), 1)))


def _digests(context: Context) -> dict[str, str]:
    spec, plan = context.pinned.spec, context.pinned.plan
    return context.cache.get(
        "work", (spec, plan), lambda: {s.name: d for s in plan.stages if (d := work_digest(spec, s))}
    )
