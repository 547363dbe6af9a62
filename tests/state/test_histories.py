"""Random histories of a run: what users, nodes, controllers and other clients do at any time, in any order.

Whatever happens, the GPU budget is kept, no stage starts before its inputs, no server in use is deleted, and a finished
run stays finished. When the disturbances end, the run ends, or its condition says what it waits for.

``make fuzz`` runs 10,000 histories, ``make unit`` 200 (``FUSIONRUN_HISTORIES``).
"""

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import Reason, StageState
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_fields import WORKLOADS, format_time, stage_of
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.runs import make_run, make_spec
from support.world import World

HISTORIES = os.environ.get("FUSIONRUN_HISTORIES")
STEPS = 40
BUDGET = 8
DONE = (StageState.SUCCEEDED, StageState.SKIPPED)
HELD = {Reason.ACCEPTED_SPEC_CHANGED}
"""Reasons for which a run waits for a person, although every disturbance has ended."""
EXITS = st.sampled_from([
    {"exitCode": 130},
    {"exitCode": 143},
    {"exitCode": 137, "reason": "OOMKilled"},
    {"exitCode": 1},
])  # fmt: skip
REASONS = st.sampled_from([{}, {"reason": "Evicted"}, {"reason": "Preempted"}, {"reason": "NodeLost"}])


def gpus(count: int) -> dict[str, Any]:
    """Return the resources of a pod with GPUs."""
    return {"limits": {"nvidia.com/gpu": count, "memory": "8Gi"}}


def sample_run() -> dict[str, Any]:
    """Return a run with a publication, whose servers, training and scoring need 4, 8 and 1 GPUs."""
    run = make_run(
        scheduling={"gpuBudget": BUDGET},
        publish={"uri": "pvc://fusion-data/out"},
        training={"nodes": 2, "processesPerNode": 4, "resources": gpus(4)},
        rewardModel=make_spec()["rewardModel"] | {"resources": gpus(1)},
        backoffLimit=20,
    )
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": gpus(4), "tensorParallelSize": 4}
    run["spec"]["datasets"][1]["columns"]["solution"] = "solution"
    return run


class Histories(RuleBasedStateMachine):
    """A run and everything that may happen to it."""

    @initialize()
    def apply(self) -> None:
        """Create the run."""
        run = sample_run()
        self.world = World(run)
        self.plan = build_plan(fill(FusionRunSpec.model_validate(run["spec"])))
        self.finished: dict[str, Any] | None = None
        self.reconcile()

    # The operator ---------------------------------------------------------------------------------------------------

    @rule()
    def reconcile(self) -> None:
        """Reconcile, and check what the decision creates and deletes."""
        before = {ref: dict(manifest) for ref, manifest in self.world.objects.items()}
        decision = self.world.reconcile()
        status = self.world.run.get("status")
        for manifest in decision.create:
            if manifest["kind"] in WORKLOADS and ref_of(manifest) not in before:
                self.check_start(manifest)
        for ref in decision.delete:
            if ref in before:
                self.check_deletion(ref, before[ref])
        if self.finished is not None:
            assert decision.create == ()
            assert status is not None
            assert status["conditions"] == self.finished["conditions"]
        elif status and self.is_true("Finished"):
            self.finished = status

    def check_start(self, manifest: dict[str, Any]) -> None:
        """Check that a new workload has its inputs and fits the budget."""
        stage = self.plan[stage_of(manifest) or ""]
        states = {s.name: s.state for s in self.world.status.stages}
        assert all(states[need] in DONE for need in stage.needs), f"{stage.name} starts before {stage.needs}"
        if stage.gpus:
            used = sum(self.plan[name].gpus for name in self.active())
            assert used <= self.world.run["spec"]["scheduling"]["gpuBudget"], f"{stage.name} exceeds the budget"

    def check_deletion(self, ref: ObjectRef, manifest: dict[str, Any]) -> None:
        """Check that the run does not need a deleted server any more."""
        spec, name = self.world.run["spec"], stage_of(manifest)
        if ref.kind != "Deployment" or spec.get("suspend") or self.is_true("Finished") or name is None:
            return
        client = next(s for s in self.plan.stages if s.server == name)
        attempt = int(manifest["metadata"]["labels"]["fusionrun.dev/attempt"])
        newer = self.world.stage(client.name).attempt or 0
        assert self.world.stage(client.name).state in DONE or newer > attempt or not self.is_ready(manifest), ref

    def active(self) -> list[str]:
        """List the stages whose workload has not ended."""
        return list(self.world.workloads())

    def is_true(self, kind: str) -> bool:
        """Return whether a condition of the run is true."""
        conditions = (self.world.run.get("status") or {}).get("conditions") or []
        return any(c["type"] == kind and c["status"] == "True" for c in conditions)

    @staticmethod
    def is_ready(manifest: dict[str, Any]) -> bool:
        """Return whether a server is ready."""
        return bool((manifest.get("status") or {}).get("readyReplicas"))

    # The cluster ----------------------------------------------------------------------------------------------------

    def can_run(self, manifest: dict[str, Any]) -> bool:
        """Return whether the pods of a workload can start: their ConfigMap or Service exists."""
        kind = "Service" if manifest["kind"] == "Deployment" else "ConfigMap"
        return ObjectRef("v1", kind, "lab", manifest["metadata"]["name"]) in self.world.objects

    @rule(pick=st.integers(0, 99), seconds=st.integers(0, 4000))
    def proceed(self, pick: int, seconds: int) -> None:
        """One workload succeeds, or one server becomes ready."""
        self.world.now += timedelta(seconds=seconds)
        active = [(name, m) for name, m in self.world.workloads().items() if self.can_run(m)]
        if active:
            self.world.finish(active[pick % len(active)][0])
        self.reconcile()

    @rule(pick=st.integers(0, 99))
    def place(self, pick: int) -> None:
        """One pod of a workload runs on a node."""
        active = [name for name, m in self.world.workloads().items() if self.can_run(m)]
        if active:
            self.world.place(active[pick % len(active)])
        self.reconcile()

    @rule(pick=st.integers(0, 99), terminated=EXITS, status=REASONS)
    def fail(self, pick: int, terminated: dict[str, Any], status: dict[str, Any]) -> None:
        """One Job or PyTorchJob fails because of the infrastructure, or of a lack of memory."""
        active = [name for name, m in self.world.workloads().items() if m["kind"] != "Deployment"]
        if active:
            self.world.fail(active[pick % len(active)], terminated, status)
        self.reconcile()

    @rule(ready=st.booleans())
    def flap(self, *, ready: bool) -> None:
        """Every server becomes ready, or not ready."""
        for manifest in self.world.of_kind("Deployment"):
            manifest["status"] = {"readyReplicas": int(ready)}
        self.reconcile()

    @rule(seconds=st.integers(-4000, 200_000))
    def clock(self, seconds: int) -> None:
        """Time passes, or the operator restarts on a node whose clock is behind."""
        self.world.now += timedelta(seconds=seconds)
        self.reconcile()

    # Other clients --------------------------------------------------------------------------------------------------

    @rule(pick=st.integers(0, 999), terminating=st.booleans())
    def delete(self, pick: int, *, terminating: bool) -> None:
        """Somebody deletes any object, at once or after a grace period in which the operator reconciles."""
        refs = [ref for ref in self.world.objects if ref.name != "tiny-spec"]
        if not refs:
            return
        ref = refs[pick % len(refs)]
        if terminating:
            self.world.objects[ref]["metadata"]["deletionTimestamp"] = format_time(self.world.now)
            self.reconcile()
        self.world.objects.pop(ref, None)
        self.reconcile()

    @rule(suspend=st.booleans())
    def suspend(self, *, suspend: bool) -> None:
        """A user suspends or resumes the run."""
        self.world.run["spec"]["suspend"] = suspend
        self.reconcile()

    @rule(budget=st.sampled_from([4, 8, 16]))
    def change_budget(self, budget: int) -> None:
        """A user changes the budget."""
        self.world.run["spec"]["scheduling"] = {"gpuBudget": budget}
        self.reconcile()

    @rule(missing=st.booleans())
    def claim(self, *, missing: bool) -> None:
        """The claim disappears, or exists again."""
        self.world.absent = {"fusion-data"} if missing else set()
        self.reconcile()

    @precondition(lambda self: self.world.of_kind("PyTorchJob"))
    @rule(pick=st.integers(0, 9))
    def revive(self, pick: int) -> None:
        """The training operator corrects the status of a PyTorchJob that it has reported as failed."""
        jobs = self.world.of_kind("PyTorchJob")
        jobs[pick % len(jobs)]["status"] = {}
        self.reconcile()

    @invariant()
    def is_level_based(self) -> None:
        """Check that a decision without a change of the world decides nothing more after a few reconciles."""
        self.world.settle()
        if self.finished is None and self.is_true("Finished"):
            self.finished = self.world.run["status"]

    def teardown(self) -> None:
        """End all disturbances: the run ends, or says what it waits for, and leaves nothing that holds GPUs."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.absent = set()
        world.run["spec"] |= {"suspend": False, "scheduling": {"gpuBudget": BUDGET}}
        for _ in range(200):
            world.settle()
            if self.is_true("Finished"):
                break
            world.now += timedelta(minutes=10)
            for name, manifest in list(world.workloads().items()):
                if self.can_run(manifest):
                    world.finish(name)
        _, reason, message = world.condition("Ready")
        assert message
        assert self.is_true("Finished") or reason in HELD, world.condition("Ready")
        if self.is_true("Finished"):
            assert not world.workloads()
            assert decide(world.live(), world.settings, world.now) in (Decision(), self.only_later())

    def only_later(self) -> Decision:
        """Return a decision that only waits for the end of the time to live."""
        decision = decide(self.world.live(), self.world.settings, self.world.now)
        return Decision(requeue_seconds=decision.requeue_seconds)


Histories.TestCase.settings = settings(
    max_examples=int(HISTORIES or 200),
    derandomize=HISTORIES is None,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
