"""Several simulated runs with one claim, which share its artifacts."""

from functools import partial
from typing import Any

from fusionrun.api.artifacts import digests
from fusionrun.api.results.result import StageResult
from fusionrun.cluster.makers import artifact_of
from fusionrun.cluster.other_runs import OtherRuns
from fusionrun.cluster.trim import trim
from fusionrun.names import KIND, digest_of, stage_kind
from fusionrun.state.observe.live_objects import OtherWorkload
from fusionrun.state.observe.object_fields import completed_at, is_finished, is_pod_of, stage_of
from fusionrun.state.observe.object_ref import ObjectRef
from support.runs import make_run
from support.world import START, World, succeeded

REPORTS = ("construct", "evaluate", "compare")
"""Kinds of stages that run for their numbers even if their artifact is complete."""


class Namespace:
    """The worlds of several runs by name, and the artifacts on their claim."""

    def __init__(self, **runs: dict[str, Any]) -> None:
        self.now = START
        self.worlds: dict[str, World] = {}
        self.volume: set[str] = set()
        self.repeated: list[str] = []
        """Stages that ran though their artifact was complete."""
        self._deleted = 0
        for name, changes in runs.items():
            self.add(name, **changes)

    def add(self, name: str, **changes: Any) -> World:
        """Add a run: the small one with changed fields."""
        run = make_run(name, **changes)
        number = len(self.worlds) + self._deleted
        run["metadata"]["uid"] = f"{number:08d}-2222-3333-4444-555555555555"
        world = self.worlds[name] = World(run, now=self.now, answer=self._answer)
        world.others = partial(self._others, world)
        return world

    def delete(self, name: str) -> None:
        """Delete a run with its objects."""
        del self.worlds[name]
        self._deleted += 1

    def settle(self) -> None:
        """Reconcile all runs until none of them creates or deletes anything."""
        for _ in range(30):
            done = [self._reconcile(world) for world in self.worlds.values()]
            if not any(done):
                return
        raise AssertionError("does not settle")

    def reconcile(self, name: str) -> None:
        """Reconcile one run until it settles; the others do not notice yet."""
        self.worlds[name].settle()

    def pass_time(self, **duration: float) -> None:
        """Let time pass for all runs."""
        for world in self.worlds.values():
            world.pass_time(**duration)
            self.now = max(self.now, world.now)
        self.settle()

    def step(self) -> bool:
        """Let all servers become ready and all other active stages succeed; return whether there was one."""
        moved = False
        for world in self.worlds.values():
            world.now = self.now
        for name, world in self.worlds.items():
            for stage, manifest in world.workloads().items():
                if not (manifest.get("status") or {}).get("readyReplicas"):
                    self.finish(name, stage)
                    moved = True
        self.tick()
        return moved

    def tick(self) -> None:
        """Let seven seconds pass, without a reconcile."""
        for world in self.worlds.values():
            world.now = self.now
            world.now += world.now.resolution * 7_000_000
        self.now += self.now.resolution * 7_000_000

    def finish(self, name: str, stage: str) -> None:
        """Let a stage of a run succeed, or its server become ready."""
        world = self.worlds[name]
        manifest = world.workloads()[stage]
        artifact = artifact_of(manifest)
        if artifact and manifest["kind"] != "Deployment":
            if artifact in self.volume and stage_kind(stage) not in REPORTS:
                self.repeated.append(f"{name}: {stage}")
            self.volume.add(artifact)
        world.finish(stage)

    def run_to_end(self) -> None:
        """Walk all runs to their ends."""
        self.settle()
        while self.step():
            self.settle()
            self.check()

    def check(self, *, with_pods: bool = False) -> None:
        """Check that one run at a time has a workload for an artifact, or ``with_pods`` one that has pods."""
        found: dict[str, set[str]] = {}
        for name, world in self.worlds.items():
            for manifest in world.workloads().values():
                artifact = artifact_of(manifest)
                pods = any(is_pod_of(pod, manifest) for pod in world.of_kind("Pod"))
                if artifact and artifact not in self.volume and (pods or not with_pods):
                    found.setdefault(artifact, set()).add(name)
        twice = {digest: runs for digest, runs in found.items() if len(runs) > 1}
        assert not twice, twice

    def states(self, stage: str) -> dict[str, tuple[str, str | None]]:
        """Return state and reason of a stage in every run."""
        stages = {name: world.stage(stage) for name, world in self.worlds.items()}
        return {name: (str(each.state), each.reason) for name, each in stages.items()}

    def _reconcile(self, world: World) -> bool:
        decision = world.reconcile()
        again = decision.status is not None and decision.requeue_seconds == 0.0
        return bool(decision.create or decision.delete or again or decision.status)

    def _others(self, world: World) -> tuple[OtherWorkload, ...]:
        children = [trim(o, finished=False) for ref, o in world.objects.items() if ref.kind == "ConfigMap"]
        return OtherRuns(_View(self)).of(world.run, children)  # type: ignore[arg-type]

    def _answer(self, kind: str, task: Any) -> StageResult:
        result = succeeded(kind, task)
        if kind != "resolve":
            return result
        pins = [digest_of(r.uri, r.revision or "", length=12) for r in task.parameters.references]
        by_stage = digests(task.parameters.stages, pins)
        found = [i for i, stage in enumerate(task.parameters.stages) if by_stage[stage.name] in self.volume]
        return result.model_copy(update={"values": result.values.model_copy(update={"pins": pins, "complete": found})})


class _View:
    """What ``OtherRuns`` reads of the store."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def makers(self, _: str, artifacts: list[str]) -> list[dict[str, Any]]:
        return [maker for maker in self.makers_since(_, "") if artifact_of(maker) in artifacts]

    def makers_since(self, _: str, time: str) -> list[dict[str, Any]]:
        found = [
            trim(manifest, finished=is_finished(world.run))
            for world in self._namespace.worlds.values()
            for manifest in world.objects.values()
            if artifact_of(manifest) and not "" < completed_at(manifest) < time
        ]
        return sorted(found, key=lambda m: (m["metadata"]["name"], stage_of(m) or ""))

    def children(self, run: ObjectRef) -> list[dict[str, Any]]:
        return [trim(manifest, finished=False) for manifest in self._namespace.worlds[run.name].objects.values()]

    def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        world = self._namespace.worlds.get(ref.name) if ref.kind == KIND else None
        return world and trim(world.run, finished=False)
