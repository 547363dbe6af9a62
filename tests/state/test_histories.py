"""Random histories of a run: what users, nodes, controllers and other clients do at any time, in any order.

Whatever happens, the GPU budget is kept, no stage starts before its inputs, nothing that the run needs is deleted, GPU
time never decreases, and a finished run stays finished until it is retried. When the disturbances end, the run
completes.

``make fuzz`` runs 10,000 histories, ``make unit`` 200 shorter ones (``FUSIONRUN_HISTORIES``).
"""

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.settings import Accelerators, Price
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.gpu_pods import recorded_uids
from fusionrun.state.observe.object_fields import (
    WORKLOADS,
    attempt_of,
    format_time,
    has_ended,
    is_deleting,
    pod_phase,
    stage_of,
)
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.nodes import Manifest, Nodes
from support.runs import make_run, make_spec
from support.world import SETTINGS, with_complete

HISTORIES = os.environ.get("FUSIONRUN_HISTORIES")
STEPS = 25 if HISTORIES else 12
BUDGET = 8
HOURS = 3600
DONE = (StageState.SUCCEEDED, StageState.SKIPPED)
LIMITS: list[dict[str, Any]] = [
    {},
    {"budget": {"maxGpuHours": 40}},
    {"budget": {"maxCost": 100}},
    {"activeDeadlineSeconds": 40 * HOURS},
    {"preRunningDeadlineSeconds": 2 * HOURS},
    {"stageDeadlines": [{"kind": "serve", "activeDeadlineSeconds": 20 * HOURS}]},
]
FIRST = ["sft", "generate/ada", "dpo", "score/ada", "generate/eval-base", "publish", "prepare/prompts"]
"""First stages whose artifact is not complete before the run."""
EXITS = st.sampled_from([
    {"exitCode": 130},
    {"exitCode": 143},
    {"exitCode": 137, "reason": "OOMKilled"},
    {"exitCode": 1},
])  # fmt: skip
REASONS = st.sampled_from([{}, {"reason": "Evicted"}, {"reason": "Preempted"}, {"reason": "NodeLost"}])
PICK = st.integers(0, 999)
STOPPED = {Reason.SUSPENDED, Reason.BUDGET_EXCEEDED, Reason.STAGE_FAILED, Reason.DEADLINE_EXCEEDED}
"""Reasons for which all stages, or those that cost something, stop."""
STARTS_AGAIN = {Reason.BACK_OFF, Reason.WAITING_FOR_SERVER, Reason.OBJECT_RESTORED}
"""Reasons for which a stage with healthy pods starts again."""
PRICED = replace(SETTINGS, accelerators=Accelerators(prices=(Price("nvidia.com/gpu", 3.0),), currency="EUR"))


def gpus(count: int, memory: str = "8Gi") -> dict[str, Any]:
    """Return the resources of a pod with GPUs."""
    return {"limits": {"nvidia.com/gpu": count, "memory": memory}}


def sample_run(**changes: Any) -> dict[str, Any]:
    """Return a run with a publication, whose servers, training and scoring need 4, 8 and 1 GPUs."""
    run = make_run(
        scheduling={"gpuBudget": BUDGET},
        publish={"uri": "pvc://fusion-data/out"},
        rewardModel=make_spec()["rewardModel"] | {"resources": gpus(1)},
        **changes,
    )
    run["spec"]["training"] = {"nodes": 2, "processesPerNode": 4, "resources": gpus(4)} | changes["training"]
    for source in run["spec"]["sources"]:
        source["served"] |= {"resources": gpus(4), "tensorParallelSize": 4}
    run["spec"]["datasets"][1]["columns"]["solution"] = "solution"
    return run


class Histories(RuleBasedStateMachine):
    """A run and everything that may happen to it."""

    @initialize(
        backend=st.sampled_from(["PyTorchJob", "Job", "TrainJob"]),
        limits=st.sampled_from(LIMITS),
        backoff_limit=st.sampled_from([1, 20]),
        first=st.sampled_from(FIRST),
        preflight=st.booleans(),
    )
    def apply(self, backend: str, limits: dict[str, Any], backoff_limit: int, first: str, preflight: bool) -> None:
        """Create the run; the artifacts of the stages before the first one are complete."""
        run = sample_run(
            training={"backend": backend}, backoffLimit=backoff_limit, preflight={"enabled": preflight}, **limits
        )
        self.plan = build_plan(fill(FusionRunSpec.model_validate(run["spec"])))
        names = [s.name for s in self.plan.stages if not s.traits.is_server]
        complete = names[1 : names.index(first)]
        self.world = Nodes(run, settings=PRICED, answer=with_complete(lambda name: name in complete))
        self.up, self.retries = True, 0
        self.finished: dict[str, tuple[str, str]] | None = None
        self.ended_gpu_seconds: dict[str, int] = {}
        self.settle()
        if first != FIRST[-1]:
            self.advance()

    # The operator ---------------------------------------------------------------------------------------------------

    def reconcile(self) -> Decision:
        """Reconcile, and check what the decision creates and deletes."""
        objects = self.world.objects.items()
        before = {ref: manifest | {"metadata": dict(manifest["metadata"])} for ref, manifest in objects}
        recorded = recorded_uids(self.world.status) if "status" in self.world.run else frozenset()
        decision = self.world.reconcile()
        for manifest in decision.create:
            if manifest["kind"] in WORKLOADS and ref_of(manifest) not in before:
                self.check_start(manifest, recorded)
        for ref in decision.delete:
            if ref in before and ref.kind in WORKLOADS:
                self.check_deletion(ref, before[ref], before)
        self.check_gpu_time()
        if self.finished is not None:
            assert decision.create == ()
            assert self.conditions() == self.finished
        elif self.is_true("Finished"):
            self.finished = self.conditions()
        return decision

    @invariant()
    def settle(self) -> None:
        """Reconcile until nothing changes, unless the operator is down: a decision is level-based."""
        if self.up:
            self.world.settle(self.reconcile)

    def check_start(self, manifest: Manifest, recorded: frozenset[str]) -> None:
        """Check that a new workload has its inputs and fits the budget."""
        stage = self.plan[stage_of(manifest) or ""]
        states = {s.name: s.state for s in self.world.status.stages}
        assert all(states[need] in DONE for need in stage.needs), f"{stage.name} starts before {stage.needs}"
        if not stage.gpus:
            return
        # A workload that is being deleted creates no pods, and those that it has are counted below.
        living = (m for m in self.world.workloads().values() if not is_deleting(m))
        active = {(stage_of(m), attempt_of(m)): self.gpus(m) for m in living}
        for pod in self.world.held():
            key = (stage_of(pod), attempt_of(pod))
            if pod["metadata"]["uid"] in recorded and (is_deleting(pod) or key not in active):
                limit = pod["spec"]["containers"][0]["resources"].get("limits") or {}
                active[pod["metadata"]["name"]] = int(limit.get("nvidia.com/gpu", 0))
        budget = self.world.run["spec"]["scheduling"]["gpuBudget"]
        assert sum(active.values()) <= budget, f"{stage.name} exceeds the budget: {active}"

    def gpus(self, workload: Manifest) -> int:
        """Return the GPUs of all pods of a workload."""
        stage = self.plan[stage_of(workload) or ""]
        replicas = int(workload["spec"].get("replicas", 1)) if workload["kind"] == "Deployment" else 1
        return stage.gpus * max(replicas, 1)

    def check_deletion(self, ref: ObjectRef, manifest: Manifest, before: dict[ObjectRef, Manifest]) -> None:
        """Check that the run does not need a deleted workload any more, or that a newer attempt replaces it."""
        name, attempt = stage_of(manifest) or "", attempt_of(manifest)
        status = self.world.stage(name)
        client = next((s.name for s in self.plan.stages if s.server == name), name)
        pods = [m for r, m in before.items() if r.kind == "Pod" and stage_of(m) == name and attempt_of(m) == attempt]
        healthy = all(pod_phase(pod) != "Failed" and not is_deleting(pod) and not crashed(pod) for pod in pods)
        if (
            has_ended(manifest)
            or not healthy
            or self.is_true("Finished")
            or status.reason in STOPPED
            or status.state in DONE
            or self.world.stage(client).state in DONE
            or attempt < max(status.attempt or 0, self.world.stage(client).attempt or 0, status.first_attempt or 0)
        ):
            return
        if ref.kind == "Deployment":
            changed = not self.world.can_run(manifest) or status.reason in (Reason.OBJECT_CHANGED, Reason.PODS_PENDING)
            assert changed, f"{ref} is in use: {status}"
            assert not (pods and self.is_ready(manifest)), f"{ref} is in use: {status}"
        else:
            assert status.reason in STARTS_AGAIN or (not pods and status.reason == Reason.PODS_PENDING), status
            assert status.message, status

    def check_gpu_time(self) -> None:
        """Check that the GPU time of pods that have ended is kept."""
        for stage in self.world.status.stages if "status" in self.world.run else []:
            usage = stage.gpu_usage
            ended = (usage.ended_gpu_seconds or 0) if usage and usage.pods else (stage.gpu_seconds or 0)
            assert ended >= self.ended_gpu_seconds.get(stage.name, 0), stage
            self.ended_gpu_seconds[stage.name] = ended

    def is_true(self, kind: str) -> bool:
        """Return whether a condition of the run is true."""
        return self.conditions().get(kind, ("", ""))[0] == "True"

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Return status and reason of each condition of the run."""
        conditions = (self.world.run.get("status") or {}).get("conditions") or []
        return {c["type"]: (c["status"], c["reason"]) for c in conditions}

    @staticmethod
    def is_ready(manifest: Manifest) -> bool:
        """Return whether a server is ready."""
        return bool((manifest.get("status") or {}).get("readyReplicas"))

    @rule()
    def stop_operator(self) -> None:
        """Stop the operator: it misses what happens next."""
        self.up = False

    @rule(seconds=st.sampled_from([-4000, 0, 0, 600, 200_000]))
    def start_operator(self, seconds: int) -> None:
        """Start the operator, on a node whose clock may be wrong."""
        self.up, self.world.skew = True, timedelta(seconds=seconds)

    # The cluster ----------------------------------------------------------------------------------------------------

    def active(self, *kinds: str) -> list[Manifest]:
        """List the workloads of some kinds whose pods can run; no kind for all of them."""
        found = (m for m in self.world.workloads().values() if self.world.can_run(m))
        return [m for m in found if not kinds or m["kind"] in kinds]

    def bind(self, workload: Manifest) -> None:
        """Let all pods of a workload run on nodes."""
        replicas = int(workload["spec"].get("replicas", 1)) if workload["kind"] == "Deployment" else 0
        self.world.bind(workload, replicas or self.plan[stage_of(workload) or ""].pods)

    @rule(pick=PICK)
    def place(self, pick: int) -> None:
        """The pods of a workload run on nodes."""
        if active := self.active():
            self.bind(active[pick % len(active)])

    @rule(pick=PICK, seconds=st.integers(0, 4000))
    def proceed(self, pick: int, seconds: int) -> None:
        """One workload runs for some time and succeeds, or one server becomes ready."""
        if active := self.active():
            self.finish(active[pick % len(active)], seconds)

    @rule(pick=PICK)
    def end_pods(self, pick: int) -> None:
        """The pods of a Job succeed, and its controller has not noticed that yet."""
        if jobs := self.active("Job"):
            job = jobs[pick % len(jobs)]
            status = job.get("status") or {}
            self.finish(job, 60)
            job["status"] = status

    @rule()
    def advance(self) -> None:
        """Every workload succeeds, and every server becomes ready."""
        for workload in self.active():
            self.finish(workload, 60)

    def finish(self, workload: Manifest, seconds: int) -> None:
        """Let a workload run and succeed, or a server become ready."""
        self.bind(workload)
        self.world.now += timedelta(seconds=seconds)
        self.world.finish(stage_of(workload) or "")
        if workload["kind"] != "Deployment":
            self.world.end(workload)

    @rule(pick=PICK, terminated=EXITS, status=REASONS)
    def fail(self, pick: int, terminated: dict[str, Any], status: dict[str, Any]) -> None:
        """One workload fails because of the infrastructure, or of a lack of memory."""
        if active := self.active("Job", "PyTorchJob", "TrainJob"):
            workload = active[pick % len(active)]
            self.bind(workload)
            self.world.fail(stage_of(workload) or "", terminated, status)
            self.world.end(workload)

    @rule(pick=PICK, code=st.sampled_from([1, 137]))
    def crash(self, pick: int, code: int) -> None:
        """The container of a server crashes again and again."""
        if servers := self.active("Deployment"):
            server = servers[pick % len(servers)]
            self.bind(server)
            server["status"] = {}
            times = {"startedAt": format_time(self.world.now), "finishedAt": format_time(self.world.now)}
            state = {"waiting": {"reason": "CrashLoopBackOff"}}
            last = {"terminated": times | {"exitCode": code}}
            for pod in self.world.pods_of(server):
                pod["status"]["containerStatuses"] = [
                    {"name": "c", "restartCount": 9, "state": state, "lastState": last}
                ]

    @rule(ready=st.booleans())
    def flap(self, *, ready: bool) -> None:
        """Every server becomes ready, or not ready."""
        for server in self.active("Deployment"):
            self.bind(server)
            server["status"] = {"readyReplicas": int(ready)}

    @rule(seconds=st.one_of(st.integers(0, 1200), st.integers(0, 100_000)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def reap(self) -> None:
        """Everything that terminates is gone."""
        self.world.reap()

    @rule(pick=PICK)
    def revive(self, pick: int) -> None:
        """The training operator corrects the status of a workload that it has reported as failed."""
        jobs = self.world.of_kind("PyTorchJob", "TrainJob")
        if jobs := [
            m for m in jobs if any(c["type"] == "Failed" for c in (m.get("status") or {}).get("conditions", []))
        ]:
            jobs[pick % len(jobs)]["status"] = {}

    @rule(pick=PICK, suspend=st.booleans())
    def queue(self, pick: int, *, suspend: bool) -> None:
        """Kueue preempts a workload: its pods terminate; or it admits it."""
        jobs = [m for m in self.world.workloads().values() if m["kind"] != "Deployment"]
        if jobs:
            self.set_suspend(jobs[pick % len(jobs)], suspend=suspend)

    def set_suspend(self, job: Manifest, *, suspend: bool) -> None:
        """Suspend or resume a workload as Kueue does."""
        spec = job["spec"].setdefault("runPolicy", {}) if job["kind"] == "PyTorchJob" else job["spec"]
        if bool(spec.get("suspend")) == suspend:
            return
        spec["suspend"] = suspend
        changed = {"type": "Suspended", "status": str(suspend), "lastTransitionTime": format_time(self.world.now)}
        job["status"] = {"conditions": [changed]}
        if suspend:
            self.world.end(job)

    # Other clients --------------------------------------------------------------------------------------------------

    @rule(pick=PICK, terminating=st.booleans())
    def delete(self, pick: int, *, terminating: bool) -> None:
        """Somebody deletes any object, at once or after a grace period."""
        refs = [ref for ref in self.world.objects if ref.name != "tiny-spec"]
        if not refs:
            return
        ref = refs[pick % len(refs)]
        if terminating:
            self.world.terminate(self.world.objects[ref])
        else:
            self.world.remove(ref)

    @rule(pick=PICK, replicas=st.integers(0, 2))
    def scale(self, pick: int, replicas: int) -> None:
        """Somebody scales a server."""
        if servers := self.world.of_kind("Deployment"):
            server = servers[pick % len(servers)]
            server["spec"] = server["spec"] | {"replicas": replicas}
            if not replicas:
                server["status"] = {}
                self.world.end(server)

    @rule(pick=PICK)
    def redirect(self, pick: int) -> None:
        """Somebody changes a Service, so that it selects no pod."""
        if services := self.world.of_kind("Service"):
            service = services[pick % len(services)]
            service["spec"] = service["spec"] | {"selector": {"gone": "true"}}

    @rule(suspend=st.booleans())
    def suspend(self, *, suspend: bool) -> None:
        """A user suspends or resumes the run."""
        self.world.run["spec"]["suspend"] = suspend

    @rule(budget=st.sampled_from([4, 8, 16]))
    def change_budget(self, budget: int) -> None:
        """A user changes the GPU budget."""
        self.world.run["spec"]["scheduling"] = {"gpuBudget": budget}

    @rule(memory=st.sampled_from(["8Gi", "16Gi"]), replicas=st.integers(1, 2))
    def resize(self, memory: str, replicas: int) -> None:
        """A user changes the memory of the training and the replicas of a server."""
        spec = self.world.run["spec"]
        spec["training"]["resources"] = gpus(4, memory)
        spec["sources"][0]["served"]["replicas"] = replicas
        self.world.run["metadata"]["generation"] += 1

    @rule()
    def retry(self) -> None:
        """A user retries the run, which has an effect if it has failed."""
        self.retries += 1
        self.world.run["metadata"]["annotations"] = {ANNOTATION_RETRY: str(self.retries)}
        if self.is_true("Failed"):
            self.finished = None

    @rule(missing=st.booleans())
    def claim(self, *, missing: bool) -> None:
        """The claim disappears, or exists again."""
        self.world.absent = {"fusion-data"} if missing else set()

    # The end --------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """End all disturbances: the run completes, after a retry if it has failed, and nothing holds GPUs."""
        if not hasattr(self, "world"):
            return
        world, spec = self.world, self.world.run["spec"]
        self.up, world.absent, world.skew = True, set(), timedelta(0)
        spec |= {"suspend": False, "scheduling": {"gpuBudget": BUDGET}, "backoffLimit": 20, "budget": None}
        for field in ("budget", "activeDeadlineSeconds", "preRunningDeadlineSeconds", "stageDeadlines"):
            spec.pop(field, None)
        for _ in range(60):
            self.settle()
            if self.is_true("Failed"):
                self.retry()
            elif self.is_true("Finished"):
                break
            world.now += timedelta(minutes=10)
            world.reap()
            for workload in list(world.workloads().values()):
                if workload["kind"] != "Deployment":
                    self.set_suspend(workload, suspend=False)
                if world.can_run(workload):
                    self.finish(workload, 0)
        assert self.is_true("Complete"), world.condition("Ready")
        world.reap()
        self.settle()
        # A Job may stay whose pods have succeeded, and whose controller has not noticed that yet.
        assert all(pods and all(map(succeeded, pods)) for pods in map(world.pods_of, world.workloads().values()))
        decision = decide(world.live(), world.settings, world.now)
        assert decision == Decision(requeue_seconds=decision.requeue_seconds)


def succeeded(pod: Manifest) -> bool:
    """Return whether a pod has succeeded."""
    return bool(pod["status"].get("phase") == "Succeeded")


def crashed(pod: Manifest) -> bool:
    """Return whether a container of a pod has been started again."""
    return any(c.get("restartCount") for c in pod["status"].get("containerStatuses") or [])


Histories.TestCase.settings = settings(
    max_examples=int(HISTORIES or 200),
    derandomize=HISTORIES is None,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
