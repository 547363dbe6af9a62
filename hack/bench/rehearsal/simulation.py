"""Runs on simulated nodes, decided by the operator's own code. Time passes only from one event to the next."""

import copy
import heapq
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from assumed_times import JOB_SECONDS, POD_START_SECONDS, POD_STOP_SECONDS, Times, model_sizes
from gpu_nodes import Nodes, Pod

from fusionrun.api.results.result import Progress, StageResult
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.names import API_VERSION, KIND
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.stages import Stage
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.live_objects import PushedProgress
from fusionrun.state.observe.object_fields import format_time, is_deleting
from support.nodes import Nodes as World
from support.world import START, succeeded

RESYNC_SECONDS = 3600.0
"""The operator decides on each run at least this often; a real one every 10 minutes."""
SHARDS = 8
"""Shards of generation, instead of 64 in the sample: with fewer pods the simulation takes less time."""
LONGEST_SECONDS = 1e7
"""A rehearsal that takes longer does not end."""


class Clock:
    """The time in seconds, and what happens later."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def step(self) -> bool:
        """Let the next event happen; return False if there is none."""
        if self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return bool(self._events)


class Work:
    """The work of a stage that pods share: it proceeds with the number of them that run."""

    def __init__(self, clock: Clock, seconds: float, pods: int, on_end: Callable[[], None]) -> None:
        self._clock, self._total, self._left, self._on_end = clock, seconds * pods, seconds * pods, on_end
        self._rate, self._since, self._version = 0, clock.now, 0
        self.started: float | None = None

    def set_rate(self, pods: int) -> None:
        """Continue with so many pods."""
        self._left -= self._rate * (self._clock.now - self._since)
        self._rate, self._since = pods, self._clock.now
        self._version += 1
        if pods:
            self.started = self._clock.now if self.started is None else self.started
            self._clock.after(max(self._left, 0.0) / pods, lambda version=self._version: self._end(version))

    @property
    def fraction(self) -> float:
        """The finished part."""
        return 1 - (self._left - self._rate * (self._clock.now - self._since)) / self._total

    def _end(self, version: int) -> None:
        if version == self._version:
            self._version += 1
            self._on_end()


class SimulatedRun:
    """One run: its workloads get pods, and its pods proceed and end."""

    def __init__(
        self,
        manifest: dict[str, Any],
        clock: Clock,
        nodes: Nodes,
        times: Times,
        priority: int = 0,
        work: dict[str, int] | None = None,
    ) -> None:
        self.name = manifest["metadata"]["name"]
        self.plan = build_plan(fill(FusionRunSpec.model_validate(manifest["spec"])))
        self._stages = {s.name: s for s in self.plan.stages}
        self._clients = {s.server: s.name for s in self.plan.stages if s.server}
        self._clock, self._nodes, self._times, self._priority = clock, nodes, times, priority
        self.world = World(manifest, answer=self._answer, work=work or {})
        self._pods: dict[str, list[Pod]] = {}
        """Pods with GPUs of each stage that has a workload."""
        self._work: dict[str, Work] = {}
        self._next_look = 0.0
        self.working: dict[Pod, float] = {}
        """Seconds in which each pod of a server had a client."""
        self.spans: dict[str, tuple[float, float]] = {}
        """Start and end of each stage."""
        self.finished: float | None = None
        self.reconciles = 0

    @property
    def work(self) -> dict[str, int]:
        """The times of the stages that have ended, as the status has them."""
        return {s.work.digest: s.work.seconds for s in self.world.status.stages if s.work}

    def reconcile(self) -> None:
        """Let the operator decide until nothing changes, and let what it has created and deleted happen."""
        if self.finished is not None:
            return
        self.world.now = START + timedelta(seconds=self._clock.now)
        self._report_progress()
        self.world.settle(self._decide)
        workloads = self.world.workloads()
        for stage in [name for name in self._pods if name not in workloads]:
            self._stop(stage)
        for stage, workload in workloads.items():
            if stage not in self._pods and not is_deleting(workload):
                self._start(self._stages[stage], workload)
        if self.world.condition("Finished")[0] == "True":
            assert self.world.condition("Complete")[0] == "True", self.world.condition("Ready")
            self.finished = self._clock.now
        else:
            self._look_again(RESYNC_SECONDS)

    def _decide(self) -> Decision:
        decision = self.world.reconcile()
        self.reconciles += 1
        return decision

    def _look_again(self, seconds: float) -> None:
        """Decide again, unless something happens before."""
        self._next_look = at = self._clock.now + seconds
        self._clock.after(seconds, lambda: self.reconcile() if self._next_look == at else None)

    def _start(self, stage: Stage, workload: dict[str, Any]) -> None:
        """Create the pods of a workload."""
        self.spans[stage.name] = (self._clock.now, self._clock.now)
        self._pods[stage.name] = pods = [
            Pod(
                stage.gpus_per_pod,
                stage.traits.is_server,
                self._priority,
                lambda pod: self._bound(stage, workload, pod),
            )
            for _ in range(stage.pods)
            if stage.gpus
        ]
        for pod in pods:
            self._nodes.add(pod)
        if not stage.traits.is_server:
            seconds, parts = self._times.work(stage), max(len(pods), 1)
            if stage.server:
                parts = len(self._pods[stage.server])
            self._work[stage.name] = Work(self._clock, seconds, parts, lambda: self._ended(stage))
            if not pods:  # nodes without GPUs have room for every pod
                self.world.bind(workload, 1)
                self._clock.after(POD_START_SECONDS, lambda: self._set_rate(stage.name))

    def _bound(self, stage: Stage, workload: dict[str, Any], pod: Pod) -> None:
        """A pod has a node: its program starts, or its server loads the model."""
        bound = sum(p.node >= 0 for p in self._pods[stage.name])
        self.world.now = START + timedelta(seconds=self._clock.now)
        self.world.bind(workload, bound)
        load = self._times.load(stage) if stage.traits.is_server else 0.0
        self._clock.after(POD_START_SECONDS + load, lambda: self._ready(stage, workload, pod))

    def _ready(self, stage: Stage, workload: dict[str, Any], pod: Pod) -> None:
        if pod not in self._pods.get(stage.name, ()):
            return
        pod.ready = self._clock.now
        if not stage.traits.is_server:
            self._set_rate(stage.name)
            return
        workload["status"] = {"readyReplicas": sum(p.ready is not None for p in self._pods[stage.name])}
        self._set_rate(self._clients[stage.name])
        self.reconcile()

    def _set_rate(self, name: str) -> None:
        """Let the work of a stage proceed with the pods that are ready: its own, or those of its server."""
        if name not in self._work:
            return
        stage = self._stages[name]
        pods = self._pods[stage.server or name]
        self._work[name].set_rate(sum(p.ready is not None for p in pods) if pods else 1)

    def _ended(self, stage: Stage) -> None:
        """The last pod of a stage has ended; its Job is complete a moment later."""
        if stage.server:
            for pod in self._pods[stage.server]:
                if pod.ready is not None:
                    self.working[pod] = self._clock.now - max(pod.ready, self._work[stage.name].started or 0.0)
        for pod in self._pods[stage.name]:
            self._nodes.release(pod, self._clock.now)
        self._clock.after(JOB_SECONDS, lambda: self._completed(stage))

    def _completed(self, stage: Stage) -> None:
        self.world.now = START + timedelta(seconds=self._clock.now)
        self.world.finish(stage.name)
        self.reconcile()

    def _stop(self, stage: str) -> None:
        """The workload of a stage is gone."""
        self.spans[stage] = (self.spans[stage][0], self._clock.now)
        pods = self._pods.pop(stage)
        self._work.pop(stage, None)
        if self._stages[stage].traits.is_server:
            self._clock.after(POD_STOP_SECONDS, lambda: self._stopped(pods))

    def _stopped(self, pods: Sequence[Pod]) -> None:
        for pod in pods:
            self._nodes.release(pod, self._clock.now)
        self.world.now = START + timedelta(seconds=self._clock.now)
        self.world.reap()
        self.reconcile()

    def _report_progress(self) -> None:
        """Report the progress of the running Jobs, as their controller and their pods do."""
        self.world.pushed.clear()
        jobs = self.world.workloads()
        for name, work in self._work.items():
            if name not in jobs or work.started is None:
                continue
            stage, started = self._stages[name], format_time(START + timedelta(seconds=work.started))
            jobs[name]["status"] = {"startTime": started}
            if stage.shares_shards:
                self._push(name, dict.fromkeys(range(stage.completions), work.fraction / stage.completions))
            elif stage.shards:
                whole, part = divmod(work.fraction * stage.shards, 1)
                jobs[name]["status"]["succeeded"] = int(whole)
                self._push(name, {int(whole): part})
            else:
                self._push(name, {0: work.fraction})

    def _push(self, stage: str, fractions: dict[int, float]) -> None:
        for index, fraction in fractions.items():
            progress = Progress(done=round(10_000 * fraction), total=10_000, unit="%")
            self.world.pushed[stage, index] = PushedProgress(progress, self.world.now)

    def _answer(self, kind: str, task: Any) -> StageResult:
        """Return the result of a stage; ``resolve`` finds no complete artifact."""
        result = succeeded(kind, task)
        if kind != StageKind.RESOLVE:
            return result
        return result.model_copy(update={"values": result.values.model_copy(update=model_sizes(self.plan))})


def sample(spec: dict[str, Any], number: int) -> dict[str, Any]:
    """Return one of several runs of a spec. They share no artifact, and have few shards."""
    spec = copy.deepcopy(spec)
    spec["generation"]["shards"] = SHARDS
    uid = f"11111111-2222-3333-4444-{number:012d}"
    metadata = {"name": f"run-{number}", "namespace": "lab", "uid": uid, "generation": 1}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def simulate(runs: Sequence[SimulatedRun], clock: Clock, nodes: Nodes) -> None:
    """Let runs that were created at the same time proceed until all are complete."""
    for run in runs:
        clock.after(0.0, run.reconcile)
    while any(run.finished is None for run in runs):
        assert clock.now < LONGEST_SECONDS, [s for run in runs for s in run.world.status.stages if s.state == "Waiting"]
        clock.step()
        for pod in nodes.bind(clock.now):
            pod.on_bound(pod)
