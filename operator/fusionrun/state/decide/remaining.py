"""The stages of a run that have not ended, as activities of a schedule (``plan.schedule``)."""

from collections.abc import Iterator, Sequence

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.plan.durations import expected_seconds
from fusionrun.plan.schedule import Activity, schedule
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.decide.limits import limits_of, use_of
from fusionrun.state.decide.retries import seconds_left
from fusionrun.state.decide.work import measured_times
from fusionrun.state.observe.object_fields import parse_time
from fusionrun.state.report.stage_status import ACTIVE, DONE

LEAVING_SECONDS = 30.0
"""Assumed time until pods that are being deleted are gone. Source: Kubernetes, ``terminationGracePeriodSeconds``."""
KEEPS_ITS_PLACE = (Reason.BACK_OFF, Reason.PODS_PENDING, Reason.QUEUED, Reason.OBJECT_RESTORED, Reason.OBJECT_REFUSED)
"""Reasons of a stage that waits for a short time. How long another one lasts is unknown, so nothing waits for it."""
_LEAVING = "pods that are being deleted"


class Remaining:
    """What runs, and what has to run."""

    def __init__(self, context: Context, outcomes: Outcomes) -> None:
        self.context, self.outcomes = context, outcomes
        self.limits, self.use = limits_of(context), use_of(context, outcomes)
        self._stages = context.pinned.plan.stages
        self._servers = {s.name: s.server for s in self._stages if s.server}
        self._clients = {server: name for name, server in self._servers.items()}
        measured = measured_times(context)
        depends_on = (context.pinned.spec, context.pinned.plan, context.estimate, measured)
        self.expected = context.cache.get("expected seconds", depends_on, lambda: expected_seconds(*depends_on))

    def have_room(self, stages: Sequence[Stage]) -> bool:
        """Return whether stages are within the limits together with those that are active."""
        gpus, servers = sum(map(self.context.gpus, stages)), sum(s.traits.is_server for s in stages)
        running = len(self.use.servers)
        return self.limits.allow(self.use.gpus + gpus if gpus else 0, running + servers if servers else 0)

    def starts(self) -> dict[str, float]:
        """Return in how many seconds each stage starts by the schedule, without those of which this is unknown."""
        return schedule(list(self._activities()), self.limits)

    def left(self, stage: str) -> float | None:
        """Return in how many seconds an active stage is expected to end; None if it is late or has no pod on a node.

        The progress of its pods counts if they report any, else the time since the first of them had a node.
        """
        if eta := self.outcomes.stages[self._clients.get(stage, stage)].status.eta_seconds:
            return float(eta)
        running = self._running_seconds(stage)
        return None if running is None or running >= self.expected[stage] else self.expected[stage] - running

    def _running_seconds(self, stage: str) -> float | None:
        workload = self.context.observed.stage(stage).latest
        placed = workload.placed if workload else None
        return max((self.context.now - placed).total_seconds(), 0.0) if placed else None

    def _activities(self) -> Iterator[Activity]:
        """Yield the stages in plan order, each server together with its client."""
        if self.use.leaving:
            yield Activity(_LEAVING, LEAVING_SECONDS, self.use.leaving, runs=True)
        unknown: set[str] = set()
        for stage in self._stages:
            if stage.server or self.outcomes.state(stage.name) in DONE:
                continue
            names = (self._servers.get(name, name) for name in stage.needs)
            needs = tuple(dict.fromkeys(name for name in names if self.outcomes.state(name) not in DONE))
            activity = None if unknown.intersection(needs) else self._activity(stage, needs)
            if activity is None:
                unknown.add(stage.name)
            else:
                yield activity

    def _activity(self, stage: Stage, needs: tuple[str, ...]) -> Activity | None:
        """Return a stage as an activity; None if nobody knows when it can start."""
        outcome, seconds = self.outcomes.stages[stage.name], max(self.expected[stage.name], 1.0)
        gpus, servers, status = self.context.gpus(stage), int(stage.traits.is_server), outcome.status
        if status.state in ACTIVE:
            # A late one is expected to run for as long again as it is late.
            left = self.left(stage.name) or max(abs(seconds - (self._running_seconds(stage.name) or 0.0)), 1.0)
            return Activity(stage.name, left, self.use.active[stage.name], servers, runs=True)
        waits = status.state is StageState.WAITING and not outcome.queued
        never = status.state is StageState.FAILED or not self.limits.allow(gpus, servers)
        if never or (waits and status.reason not in KEEPS_ITS_PLACE):
            return None
        earliest = self._earliest(status) if waits else 0.0
        return Activity(stage.name, seconds, gpus, servers, needs, earliest)

    def _earliest(self, status: StageStatus) -> float:
        """Return in how many seconds a waiting stage may start; a refused one has waited since its ``startTime``."""
        refused = parse_time(status.start_time) if status.reason == Reason.OBJECT_REFUSED else None
        waited = (self.context.now - refused).total_seconds() if refused else 0.0
        return max(waited, seconds_left(status.retry_time, self.context.now), 1.0)
