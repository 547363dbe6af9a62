"""Walk over a plan's stages in order and decide, stage by stage, what is so and what to create or delete.

Pure: a walk reads what was observed and the time it is given, and collects its answer in its own lists.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fusionrun.api.models import Manifest
from fusionrun.api.stage import StageKind
from fusionrun.api.status import (
    LOG_TAIL_CHARACTERS,
    BenchmarkResult,
    DatasetSummary,
    Reason,
    StageState,
    StageStatus,
)
from fusionrun.objects.render import render
from fusionrun.plan.kinds import Report
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings
from fusionrun.state import progress, results
from fusionrun.state.conditions import stamp
from fusionrun.state.failures import Failure
from fusionrun.state.live import ObjectRef, Refusal
from fusionrun.state.observe import Observed, ObservedStage, Phase, Workload, ref_of
from fusionrun.state.pending import Pending, pending
from fusionrun.state.prerequisites import Missing
from fusionrun.state.told import AT_WORK, DONE, MESSAGE_CHARACTERS, idle, last_numbers, seen
from fusionrun.state.wedged import got_nothing, was_away

RESULT_GRACE = timedelta(seconds=2)
"""How long the watch of pods may be behind that of Jobs before the pods of a Job that has ended are listed.

It is no time after which a result counts as lost: only a list of the pods shows that.
"""
RESTARTED = "restarted: the one before took no more tokens"
SERVER_AWAY = (
    "its server was not Ready while it waited: it starts again when the server is Ready, and keeps its answers"
)
LOADING = "a pod runs, and the server is not Ready yet"
NO_RESULT = "it ended, and its pods are gone with their results"
REFUSED_MAX_SECONDS = 60.0
"""Longest time between two tries to create what was refused; the time doubles up to it."""
TRANSIENT_FIRST_SECONDS = 1.0
"""Time to the first retry of a create that failed with 429, 5xx or no reply."""


@dataclass
class Walk:
    """One walk over the plan."""

    layout: PinnedPlan
    observed: Observed
    previous: dict[str, StageStatus]
    needed: frozenset[str] | None
    """Stages that have to run; None before ``resolve`` has answered."""
    complete: frozenset[str]
    missing: tuple[Missing, ...]
    """What stages wait for that is not of the run's making."""
    refused: dict[ObjectRef, Refusal]
    """Objects that cannot be created now."""
    settings: Settings
    now: datetime
    benchmarks: list[BenchmarkResult]
    dataset: DatasetSummary | None
    statuses: dict[str, StageStatus] = field(default_factory=dict)
    create: list[Manifest] = field(default_factory=list)
    delete: list[ObjectRef] = field(default_factory=list)
    failed: list[tuple[str, Failure]] = field(default_factory=list)
    pending: dict[str, Pending] = field(default_factory=dict)
    """Of the stages at work those that wait for a pod, or for one more."""
    pods_listed: frozenset[ObjectRef] = frozenset()
    """Workloads whose pods the API server was asked for."""
    list_pods: list[ObjectRef] = field(default_factory=list)
    """Workloads whose pods it must be asked for, before more is decided on them."""
    requeue_seconds: float | None = None

    def run(self) -> None:
        """Visit every stage."""
        for stage in self.layout.plan.stages:
            self.statuses[stage.name] = self._visit(stage)

    def look_again(self, seconds: float) -> None:
        """Ask for another look within so many seconds."""
        self.requeue_seconds = min(seconds, self.requeue_seconds or seconds)

    def _visit(self, stage: Stage) -> StageStatus:
        old = self.previous.get(stage.name)
        if old and old.state in DONE:
            if stage.traits.is_server:
                self._delete_server(stage)
            return old
        if self.needed is not None and stage.name not in self.needed:
            hit = stage.name in self.complete
            reason = Reason.CACHE_HIT if hit else Reason.NO_LONGER_NEEDED
            return StageStatus(name=stage.name, state=StageState.SKIPPED, reason=reason, cache_hit=hit or None)
        if stage.traits.is_server:
            return self._serve(stage)
        if stage.kind is StageKind.PUBLISH and self._is_ready(stage) and (text := self._gate()):
            return StageStatus(name=stage.name, state=StageState.SKIPPED, reason=Reason.GATE_FAILED, message=text)
        return self._program(stage)

    # What may start -------------------------------------------------------------------------------------

    def _is_ready(self, stage: Stage) -> bool:
        if self.needed is None and stage.kind is not StageKind.RESOLVE:
            return False
        return all(self.statuses[n].state in DONE for n in stage.needs)

    def _gate(self) -> str:
        publish = self.layout.spec.publish
        if publish is None or publish.even_if_gate_failed:
            return ""
        return "; ".join(results.gate_failures(self.layout.spec.evaluation, self.benchmarks))[:MESSAGE_CHARACTERS]

    def _no_room(self, stage: Stage) -> str:
        """Say what a stage has no room in; empty when it fits."""
        scheduling = self.layout.spec.scheduling
        held = [s for s in self.layout.plan.stages if s.name != stage.name and self._holds_pods(s)]
        servers = sum(s.traits.is_server for s in held)
        if stage.traits.is_server and servers >= (scheduling.max_servers or servers + 1):
            return f"spec.scheduling.maxServers: {scheduling.max_servers}: so many servers are up"
        used = sum(s.gpus for s in held)
        if not stage.gpus or scheduling.gpu_budget is None or used + stage.gpus <= scheduling.gpu_budget:
            return ""
        return f"spec.scheduling.gpuBudget: {scheduling.gpu_budget}: {used} are held and {stage.gpus} are needed"

    def _holds_pods(self, stage: Stage) -> bool:
        """Whether a stage is at work: as this walk has decided, or, for one not yet visited, as was observed."""
        if stage.name in self.statuses:
            return self.statuses[stage.name].state in AT_WORK
        workload = self.observed.stage(stage.name).latest
        return workload is not None and workload.active

    def _start(self, stage: Stage, attempt: int) -> StageStatus:
        waiting = self._why_not(stage)
        if waiting is not None:
            return waiting
        layout = self.layout
        if stage.kind is StageKind.PUBLISH:  # with the scores that this very walk may have read
            layout = replace(layout, scores=results.by_model(self.benchmarks))
        rendered = render(layout, stage, attempt, self.settings)
        for manifest in rendered:
            if refusal := self.refused.get(ref_of(manifest)):
                return self._refused(stage, refusal)
        self.create += rendered
        self.pending[stage.name] = Pending(running=False, message=None, since=self.now)
        return self._idle(stage, StageState.RUNNING, Reason.PODS_PENDING).model_copy(
            update={
                "attempt": attempt or None,
                "start_time": stamp(self.now),
                "object_ref": f"{rendered[-1]['kind']}/{rendered[-1]['metadata']['name']}",
            }
        )

    def _start_again(self, stage: Stage, attempt: int, why: str) -> StageStatus:
        """Start the next attempt of a stage, and say why; where it has to wait, what it waits for is said instead."""
        status = self._start(stage, attempt)
        if status.state is not StageState.RUNNING:
            return status
        return status.model_copy(update={"message": why[:MESSAGE_CHARACTERS]})

    def _refused(self, stage: Stage, refusal: Refusal) -> StageStatus:
        """Fail a stage whose object is at fault; wait with one that a quota, say, does not let in."""
        text = refusal.message
        if refusal.for_good:
            self.failed.append((stage.name, Failure(Reason.OBJECT_REFUSED, text, "")))
            return self._idle(stage, StageState.FAILED, Reason.OBJECT_REFUSED, text)
        old = self.previous.get(stage.name)
        since = (old.start_time if old and old.reason == Reason.OBJECT_REFUSED else None) or stamp(self.now)
        waited = (self.now - datetime.fromisoformat(since)).total_seconds()
        first = TRANSIENT_FIRST_SECONDS if refusal.transient else self.settings.missing_seconds
        self.look_again(min(max(waited, first), REFUSED_MAX_SECONDS))
        return self._waiting(stage, Reason.OBJECT_REFUSED, text).model_copy(update={"start_time": since})

    def _why_not(self, stage: Stage) -> StageStatus | None:
        if not self._is_ready(stage):
            return self._idle(stage, StageState.PENDING)
        for missing in self.missing:
            if missing.holds(stage):
                return self._waiting(stage, missing.reason, missing.message)
        if stage.server and self.statuses[stage.server].state is not StageState.READY:
            if self.statuses[stage.server].state in DONE:
                return None
            return self._waiting(stage, Reason.WAITING_FOR_SERVER)
        if text := self._no_room(stage):
            return self._waiting(stage, Reason.WAITING_FOR_GPUS, text)
        return None

    def _idle(self, stage: Stage, state: StageState, reason: Reason | None = None, message: str = "") -> StageStatus:
        return idle(stage, self.previous.get(stage.name), state, reason, message)

    def _waiting(self, stage: Stage, reason: Reason, message: str = "") -> StageStatus:
        return self._idle(stage, StageState.WAITING, reason, message)

    # Servers --------------------------------------------------------------------------------------------

    def _serve(self, stage: Stage) -> StageStatus:
        server = self.observed.stage(stage.name)
        workload = server.latest
        consumer = next(s for s in self.layout.plan.stages if s.server == stage.name)
        if self._is_over(consumer):
            self._delete_server(stage)
            return self._status(stage, workload, StageState.SUCCEEDED, Reason.NO_LONGER_NEEDED, self.now)
        attempt = self._attempt_served(consumer)
        self.delete += still_alive(server.before(attempt))
        if workload is None or workload.attempt < attempt:
            return self._start_again(stage, attempt, RESTARTED) if attempt else self._start(stage, attempt)
        match workload.phase:
            case Phase.READY:
                return self._status(stage, workload, StageState.READY, Reason.SERVER_READY)
            case Phase.FAILED:
                return self._fail(stage, workload, workload.failure)
            case Phase.TERMINATING:
                return self._waiting(stage, Reason.PODS_PENDING)
            case Phase.RUNNING | Phase.SUCCEEDED:
                return self._running(stage, workload, LOADING)

    def _attempt_served(self, consumer: Stage) -> int:
        """Return the attempt of the stage that a server serves: the next one, when its server was wedged."""
        workload = self.observed.stage(consumer.name).latest
        if workload is None:
            return 0
        return workload.attempt + (self._is_wedged(consumer, workload) and self._has_attempts_left(workload))

    def _is_wedged(self, stage: Stage, workload: Workload) -> bool:
        return stage.server is not None and got_nothing(workload) and not self._server_was_away(stage, workload)

    def _server_was_away(self, stage: Stage, workload: Workload) -> bool:
        server = self.observed.stage(stage.server or "").latest
        return was_away(server, workload, self.layout.spec.generation.stall_seconds, self.now)

    def _has_attempts_left(self, workload: Workload) -> bool:
        return workload.attempt < self.layout.spec.backoff_limit

    def _is_over(self, consumer: Stage) -> bool:
        old = self.previous.get(consumer.name)
        workload = self.observed.stage(consumer.name).latest
        return bool(old and old.state in DONE) or (workload is not None and workload.phase is Phase.SUCCEEDED)

    def _delete_server(self, stage: Stage) -> None:
        self.delete += still_alive(self.observed.stage(stage.name))

    # Programs -------------------------------------------------------------------------------------------

    def _program(self, stage: Stage) -> StageStatus:
        workload = self.observed.stage(stage.name).latest
        if workload is None:
            return self._start(stage, self._first_attempt(stage))
        if workload.phase is Phase.TERMINATING:
            return self._waiting(stage, Reason.PODS_PENDING)
        if workload.phase is Phase.SUCCEEDED:
            return self._succeed(stage, workload)
        if workload.phase is Phase.FAILED or workload.failure:
            return self._failed(stage, workload)
        return self._at_work(stage, workload)

    def _first_attempt(self, stage: Stage) -> int:
        """Return the number of the attempt to start where there is none: its server's, whose address it bears."""
        old = self.previous.get(stage.name)
        if stage.traits.retried_by_operator:
            return (old.attempt or 0) if old else 0
        server = self.observed.stage(stage.server).latest if stage.server else None
        return server.attempt if server else 0

    def _at_work(self, stage: Stage, workload: Workload) -> StageStatus:
        numbers = progress.numbers(stage, self.observed.stage(stage.name), workload, self.now)
        return self._running(stage, workload).model_copy(update=vars(numbers))

    def _running(self, stage: Stage, workload: Workload, otherwise: str | None = None) -> StageStatus:
        """Return the status of a stage at work: whether a pod runs, and what the others wait for, or ``otherwise``."""
        found = pending(workload, self.now)
        if found.is_news:
            self.pending[stage.name] = found
        status = self._status(
            stage, workload, StageState.RUNNING, Reason.PODS_RUNNING if found.running else Reason.PODS_PENDING
        )
        return status.model_copy(update={"message": found.message or otherwise})

    def _awaits_pods(self, workload: Workload) -> bool:
        """Whether the pods of a workload that has ended may yet tell more: until they were listed.

        The watches of pods and of workloads report in either order, and one may be far behind the other.
        """
        if workload.ref in self.pods_listed:
            return False
        late = self.now - workload.ended if workload.ended else RESULT_GRACE
        if timedelta(0) <= late < RESULT_GRACE:
            self.look_again((RESULT_GRACE - late).total_seconds())
        else:
            self.list_pods.append(workload.ref)
        return True

    def _succeed(self, stage: Stage, workload: Workload) -> StageStatus:
        if len(workload.results) < (stage.shards or 1) and self._awaits_pods(workload):
            return self._at_work(stage, workload)
        if self._lacks_result(stage, workload):
            if self._has_attempts_left(workload):
                return self._start_again(stage, workload.attempt + 1, NO_RESULT)
            if stage.traits.report is not Report.DATASET:  # whose numbers are for people only
                return self._fail(stage, workload, Failure(Reason.INFRASTRUCTURE_ERROR, NO_RESULT, ""))
        found = workload.results
        match stage.traits.report:
            case Report.DATASET:
                self.dataset = results.dataset_summary(found, self.layout.spec) or self.dataset
            case Report.SCORES:
                model, evaluation = stage.evaluated_model, self.layout.spec.evaluation
                self.benchmarks = results.with_scores(self.benchmarks, evaluation, model, found)
            case None:
                pass
        status = self._status(stage, workload, StageState.SUCCEEDED, Reason.SUCCEEDED, workload.ended or self.now)
        return status.model_copy(update=last_numbers(found))

    def _lacks_result(self, stage: Stage, workload: Workload) -> bool:
        """Whether a result is lost that something rests on; the stage's manifest has it, so a retry answers at once."""
        if stage.kind is StageKind.RESOLVE:
            return self.needed is None
        return stage.traits.report is not None and not workload.results

    def _failed(self, stage: Stage, workload: Workload) -> StageStatus:
        failure = workload.failure
        if failure is None and self._awaits_pods(workload):
            return self._at_work(stage, workload)
        if stage.server and got_nothing(workload) and self._server_was_away(stage, workload):
            self.delete.append(workload.ref)
            return self._waiting(stage, Reason.WAITING_FOR_SERVER, SERVER_AWAY)
        again = (
            failure is None or failure.retryable
            if stage.traits.retried_by_operator
            else self._is_wedged(stage, workload)
        )
        if again and self._has_attempts_left(workload):
            text = failure.message if failure else "the job failed and left no pod to ask"
            return self._start_again(stage, workload.attempt + 1, f"tried again: {text}")
        return self._fail(stage, workload, failure)

    def _fail(self, stage: Stage, workload: Workload, failure: Failure | None) -> StageStatus:
        failure = failure or Failure(Reason.INFRASTRUCTURE_ERROR, "it failed and left no pod to ask", "")
        self.failed.append((stage.name, failure))
        status = self._status(stage, workload, StageState.FAILED, failure.reason, workload.ended or self.now)
        return status.model_copy(
            update={
                "message": failure.message[:MESSAGE_CHARACTERS],
                "log_tail": failure.log_tail[-LOG_TAIL_CHARACTERS:] or None,
            }
        )

    # Status ---------------------------------------------------------------------------------------------

    def _status(
        self,
        stage: Stage,
        workload: Workload | None,
        state: StageState,
        reason: Reason,
        ended: datetime | None = None,
    ) -> StageStatus:
        old = self.previous.get(stage.name)
        if workload is None:
            return idle(stage, old, state, reason)
        return seen(stage, old, workload, state, reason, self.now, ended)

    def stop(self, reason: Reason, message: str) -> None:
        """Stop what is at work: nothing is created, everything active is deleted, what has ended stays for its logs.

        Parameters
        ----------
        reason, message
            Why, for the stages that were at work.
        """
        self.create.clear()
        for stage in self.layout.plan.stages:
            self.delete += still_alive(self.observed.stage(stage.name))
            status = self.statuses[stage.name]
            if status.state in AT_WORK or status.state is StageState.WAITING:
                self.statuses[stage.name] = idle(stage, status, StageState.PENDING, reason, message)


def still_alive(observed: ObservedStage) -> list[ObjectRef]:
    """List the objects of a stage that hold pods, or would: not those that ended, nor those on their way out."""
    workloads = [w.ref for w in observed.workloads if w.active or (w.phase is Phase.FAILED and w.is_server)]
    return [*workloads, *(ref_of(s) for s in observed.services if not s["metadata"].get("deletionTimestamp"))]
