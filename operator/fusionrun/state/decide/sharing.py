"""Artifacts that runs of a namespace share: one run makes each, and the others wait for it without pods.

A run makes an artifact if it has a workload for it: that of the stage, or the server of the stage. No other run starts
one then. ``cluster.other_runs`` makes the decision and its record one step, so that two runs never start at once.

There is no deadlock. All inputs of an artifact that is being made are complete, so its maker waits only for pods, and
the maker of an artifact never waits for another run. If it stops, fails or is deleted, its workload is gone, and the
next run that needs the artifact makes it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.plan.graph import needed
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.state.observe.object_fields import parse_time
from fusionrun.state.observe.observed import Observed
from fusionrun.state.observe.other_runs import Maker
from fusionrun.state.observe.pending_pods import pending_pods
from fusionrun.state.observe.workloads import Phase, Workload

PENDING_MAX = timedelta(minutes=30)
"""How long other runs wait for a workload without a running pod. Then they may start their own.

Longer than an autoscaler needs for a node with GPUs. Its node selector may match no node, or its queue may be stopped.
"""
RECHECK_SECONDS = 60.0
"""Time until a run that waits for another looks again, if no change of the other run is noticed before."""


@dataclass(frozen=True)
class Shared:
    """What other runs do for a run."""

    needed: frozenset[str] | None = None
    """Stages that have to run; None before ``resolve`` has finished."""
    complete: Mapping[str, str] = field(default_factory=dict)
    """Stages whose artifact is complete before they start, with a message: of an earlier run, or of another run."""
    held_back: Mapping[str, str] = field(default_factory=dict)
    """Stages that must not start now, and why: another run makes their artifact, or all artifacts that they are for."""


def share(
    pinned: PinnedPlan,
    found: Collection[str],
    observed: Observed,
    previous: Mapping[str, StageStatus],
    makers: Mapping[str, list[Maker]],
    now: datetime,
) -> Shared:
    """Return which stages of a run need not start, or not now. ``found`` are those that ``resolve`` found complete.

    An artifact that another run has made since then is complete as well. An earlier one is not: ``resolve`` did not
    find it, so somebody has deleted it.
    """
    own = {s.name: _own(s, observed) for s in pinned.plan.stages if s.name in pinned.digests}
    of_stage = {name: makers.get(pinned.digests[name], []) for name in own}
    resolved_at = parse_time(previous["resolve"].start_time) if "resolve" in previous else None
    complete = dict.fromkeys(found, "")
    for name, others in of_stage.items():
        made = [m for m in others if resolved_at and m.workload.ended and m.workload.ended >= resolved_at]
        if made and not _has_results(own[name], now):
            complete[name] = f"made by run {made[0].run!r}"
    finished = {s.name for s in previous.values() if s.state is StageState.SUCCEEDED or s.cache_hit}
    known = frozenset(finished.union(complete))
    making = {
        name: maker
        for name, others in of_stage.items()
        if name not in known and (maker := _made_elsewhere(pinned.uid, own[name], others, now))
    }
    required, required_now = needed(pinned.plan, known), needed(pinned.plan, known.union(making))
    held_back = {name: f"run {m.run!r} makes its artifact: stage {m.stage}" for name, m in making.items()}
    servers = {server for name in making if (server := pinned.plan[name].server)}
    for name in required - required_now:
        workload = observed.stage(name).latest
        if name in servers or workload is None or not workload.active:
            held_back.setdefault(name, "other runs make the artifacts that it is needed for")
    return Shared(required, complete, held_back)


def _own(stage: Stage, observed: Observed) -> list[Workload]:
    """Return the latest workload of a stage and of its server, if there are any."""
    latest = (observed.stage(name).latest for name in (stage.name, stage.server) if name)
    return [workload for workload in latest if workload]


def _has_results(own: Iterable[Workload], now: datetime) -> bool:
    """Return whether a run has made an artifact, or has a pod that makes it: the result of its pod has the numbers."""
    return any(w.phase is Phase.SUCCEEDED or (not w.is_server and _has_running_pod(w, now)) for w in own)


def _made_elsewhere(uid: str, own: Iterable[Workload], others: Iterable[Maker], now: datetime) -> Maker | None:
    """Return the workload of another run to wait for; None if this run makes the artifact, or may start to.

    Several runs have a workload only after ``PENDING_MAX``. The first that gets a running pod keeps its workload, and
    the others delete theirs; if two get one at the same time, the run with the smaller UID keeps it.
    """
    making = [m for m in others if m.workload.active]
    if not making or any(w.phase is Phase.SUCCEEDED for w in own):
        return None
    runs = any(_has_running_pod(w, now) for w in own)
    running = (m for m in making if _has_running_pod(m.workload, now) and (not runs or m.uid < uid))
    fresh = (m for m in making if now - pending_pods(m.workload, now).since < PENDING_MAX)
    return next(running, None if any(w.active for w in own) else next(fresh, None))


def _has_running_pod(workload: Workload, now: datetime) -> bool:
    return workload.phase is Phase.READY or (workload.active and pending_pods(workload, now).running)
