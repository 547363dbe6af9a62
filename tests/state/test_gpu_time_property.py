"""GPU time against a simulated truth: pods of one stage, and an operator that is down, killed or has a wrong clock.

Kubernetes is simulated as far as it matters: pods are bound, end, are replaced and deleted. While the operator runs it
reconciles after each change, as with watches.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.contract import Manifest
from fusionrun.api.status.run import FusionRunStatus, read_status
from fusionrun.api.status.stages import StageStatus
from fusionrun.cluster.trim import trim
from fusionrun.settings import Accelerators
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.observed import observe
from fusionrun.state.report.gpu_time import gpu_time
from fusionrun.state.report.summary import with_gpu_time
from support.properties import quick
from support.runs import make_run
from support.world import START, World

GPUS = 4
HOURS = 3600
RESYNC = 600
"""Longest time between two reconciles of an operator that runs."""
UNOBSERVED = 15 * 60 + 60
"""Time that may be counted after the last observation of a pod without an end; the status has whole minutes."""


@dataclass(frozen=True)
class Pod:
    """A pod; times are seconds since the start."""

    number: int
    bound: int
    ends: int
    deleted: int
    """Time at which its object is deleted; not before its end."""
    vanishes: bool
    """Whether its object is deleted at its end, so that no field has the end."""

    @property
    def uid(self) -> str:
        return f"uid-{self.number}"

    @property
    def gone(self) -> int:
        return self.ends if self.vanishes else self.deleted

    @property
    def used(self) -> int:
        return GPUS * (self.ends - self.bound)

    def manifest(self, job: Manifest, at: int) -> Manifest:
        """Return its object at a time."""
        ended = self.ends <= at
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": moment(self.bound)}
        running = {"running": {"startedAt": moment(self.bound)}}
        state = {"terminated": {"exitCode": 0, "finishedAt": moment(self.ends)}} if ended else running
        template = job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job['metadata']['name']}-{self.number}",
                "namespace": "lab",
                "uid": self.uid,
                "labels": template["metadata"]["labels"],
            },
            "spec": template["spec"],
            "status": {
                "phase": "Succeeded" if ended else "Running",
                "startTime": moment(self.bound),
                "conditions": [scheduled],
                "containerStatuses": [{"name": "c", "state": state}],
            },
        }


def moment(seconds: int) -> str:
    return format_time(START + timedelta(seconds=seconds))


@cache
def training() -> tuple[Manifest, Manifest]:
    """Return a run that trains, and its PyTorchJob."""
    resources = {"limits": {"nvidia.com/gpu": GPUS}}
    world = World(make_run(training={"nodes": 1, "processesPerNode": GPUS, "resources": resources}))
    world.run_until("sft")
    return world.run, world.workloads()["sft"]


@dataclass
class Simulation:
    """One history."""

    pods: list[Pod]
    down: list[tuple[int, int]]
    """Times between which the operator does not run."""
    jumps: dict[int, int]
    """Error of the operator's clock in seconds, by the number of the reconcile."""
    killed: set[int]
    """Reconciles in which the operator is killed before it writes the status."""
    seen_running: dict[int, int] = field(default_factory=dict)
    """Last time at which each pod was recorded as running."""
    seen_ended: set[int] = field(default_factory=set)
    seen_gone: dict[int, int] = field(default_factory=dict)
    reconciles: int = 0

    def run(self) -> "Simulation":
        """Let time pass until all pods are gone, and reconcile once more."""
        self.status = read_status(training()[0]["status"])
        changes = {t for pod in self.pods for t in (pod.bound, pod.ends, pod.gone)}
        last = max(changes | {end for _, end in self.down}) + 1
        for at in sorted(changes | {end for _, end in self.down} | set(range(0, last, RESYNC))):
            if not any(start <= at < end for start, end in self.down):
                self.reconcile(at)
        self.jumps, self.killed = {}, set()
        self.reconcile(last)
        return self

    def reconcile(self, at: int) -> None:
        """Show the operator the objects at a time."""
        number, self.reconciles = self.reconciles, self.reconciles + 1
        shown = [pod for pod in self.pods if pod.bound <= at < pod.gone]
        after = self.count(shown, at, self.jumps.get(number, 0))
        if number in self.killed:
            return
        self.status = after
        assert self.count(shown, at, self.jumps.get(number, 0)) == after, "counted twice"
        running = {pod.uid for pod in shown if at < pod.ends}
        assert {pod.uid for pod in usage.pods} == running if (usage := self.stage.gpu_usage) else not running
        for pod in self.pods:
            if pod.uid in running:
                self.seen_running[pod.number] = at
            elif pod in shown:
                self.seen_ended.add(pod.number)
            elif pod.number in self.seen_running:
                self.seen_gone.setdefault(pod.number, at)

    def count(self, shown: list[Pod], at: int, error: int) -> FusionRunStatus:
        """Return the status after an observation."""
        run, job = training()
        run = run | {"status": self.status.model_dump(mode="json", exclude_none=True)}
        children = [job, *(pod.manifest(job, at) for pod in shown)]
        live = LiveObjects(run, tuple(trim(child, finished=False) for child in children))
        now = START + timedelta(seconds=at + error)
        before = read_status(run["status"])
        return with_gpu_time(before, gpu_time(before, observe(live, before), Accelerators(), now), "")

    @property
    def stage(self) -> StageStatus:
        return next(stage for stage in self.status.stages if stage.name == "sft")

    @property
    def counted(self) -> int:
        return self.stage.gpu_seconds or 0


TIME = st.integers(0, 4 * HOURS)


@st.composite
def pods(draw: st.DrawFn, *, vanishing: bool) -> list[Pod]:
    made = []
    for number in range(draw(st.integers(1, 5))):
        bound, length, kept = draw(TIME), draw(st.integers(1, 2 * HOURS)), draw(st.integers(0, HOURS))
        ends = bound + length
        made.append(Pod(number, bound, ends, ends + kept, vanishing and draw(st.booleans())))
    return made


DOWN = st.lists(st.tuples(TIME, st.integers(1, 2 * HOURS)).map(lambda t: (t[0], t[0] + t[1])), max_size=3)
JUMPS = st.dictionaries(st.integers(0, 30), st.sampled_from([-30 * HOURS, -600, 600, 30 * HOURS]), max_size=10)
KILLED = st.sets(st.integers(0, 30), max_size=10)


@given(pods(vanishing=False), DOWN, JUMPS, KILLED)
@quick
def test_the_total_is_exact_if_every_end_was_observed(history, down, jumps, killed):
    """Whatever the operator's clock shows, and however often it is killed."""
    simulation = Simulation(history, down, jumps, killed).run()
    exact = sum(pod.used for pod in history if pod.number in simulation.seen_ended)
    if simulation.seen_running.keys() <= simulation.seen_ended:
        assert simulation.counted == exact
    else:
        assert simulation.counted >= exact


@given(pods(vanishing=True), DOWN, KILLED)
@quick
def test_a_pod_that_is_gone_without_an_end_is_counted_to_its_last_observation(history, down, killed):
    """And for at most 15 minutes more, but not beyond the time at which it was found to be gone."""
    simulation = Simulation(history, down, {}, killed).run()
    least = most = 0
    for pod in history:
        if pod.number in simulation.seen_ended:
            least, most = least + pod.used, most + pod.used
        elif pod.number in simulation.seen_running:
            seen, gone = simulation.seen_running[pod.number], simulation.seen_gone[pod.number]
            least += GPUS * (seen - pod.bound)
            most += GPUS * (min(gone, seen + UNOBSERVED) - pod.bound)
    assert least <= simulation.counted <= most


@given(pods(vanishing=True))
@quick
def test_without_a_pause_of_the_operator_an_end_that_no_field_has_is_exact(history):
    simulation = Simulation(history, [], {}, set()).run()
    assert simulation.counted == sum(pod.used for pod in history)
