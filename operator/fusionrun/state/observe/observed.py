"""What the objects of a run say: per stage its workloads, services and pushed progress."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from fusionrun.api.contract import Manifest
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.state.observe.gpu_pods import GpuPod, gpu_pod, recorded_uids
from fusionrun.state.observe.live_objects import LiveObjects, PushedProgress
from fusionrun.state.observe.object_fields import WORKLOADS, attempt_of, is_deleting, is_pod_of, stage_of
from fusionrun.state.observe.object_ref import ObjectRef, owners, ref_of
from fusionrun.state.observe.workloads import Workload, observe_workload


@dataclass(frozen=True)
class ObservedStage:
    """The objects of one stage."""

    workloads: tuple[Workload, ...] = ()
    services: tuple[Manifest, ...] = ()
    pushed: dict[int, PushedProgress] = field(default_factory=dict)
    first_attempt: int = 0
    """First attempt since the run was last retried. The workloads of earlier ones are history."""
    pods: tuple[GpuPod, ...] = ()
    """All its pods, also those whose workload is gone."""
    left: tuple[Manifest, ...] = ()
    """Its pods with GPUs whose workload is gone: they still terminate."""

    @cached_property
    def latest(self) -> Workload | None:
        """Return the workload of the last attempt; None if the run was retried since."""
        return max(
            (w for w in self.workloads if w.attempt >= self.first_attempt), key=lambda w: w.attempt, default=None
        )

    @property
    def running_objects(self) -> tuple[ObjectRef, ...]:
        """Objects to delete so that the stage stops: neither those that ended nor those that are being deleted."""
        workloads = [w.ref for w in self.workloads if w.holds_pods]
        return (*workloads, *(ref_of(s) for s in self.services if not is_deleting(s)))

    @cached_property
    def earlier(self) -> "ObservedStage":
        """Return the objects of all attempts but the last."""
        return self.before(self.latest.attempt) if self.latest else ObservedStage()

    def before(self, attempt: int) -> "ObservedStage":
        """Return the objects of earlier attempts."""
        workloads = tuple(w for w in self.workloads if w.attempt < attempt)
        return ObservedStage(workloads, tuple(s for s in self.services if attempt_of(s) < attempt))


_NOTHING = ObservedStage()


@dataclass(frozen=True)
class Observed:
    """The objects of a run."""

    stages: dict[str, ObservedStage]
    config_maps: dict[str, dict[str, str]]
    """Data of the ConfigMaps of the run itself (spec and resolved), by name."""
    generations: dict[ObjectRef, int] = field(default_factory=dict)
    """All objects that the run owns, without pods, with their ``metadata.generation``; 0 for kinds without one."""

    def stage(self, name: str) -> ObservedStage:
        """Return the objects of a stage, which may be none."""
        return self.stages.get(name, _NOTHING)

    @property
    def running_objects(self) -> tuple[ObjectRef, ...]:
        """Objects to delete so that every stage stops."""
        return tuple(ref for stage in self.stages.values() for ref in stage.running_objects)


def observe(live: LiveObjects, before: FusionRunStatus) -> Observed:
    """Parse the objects of a run whose status is ``before``."""
    uid = live.run["metadata"]["uid"]
    recorded = recorded_uids(before)
    by_stage: dict[str, list[Manifest]] = {}
    config_maps: dict[str, dict[str, str]] = {}
    generations: dict[ObjectRef, int] = {}
    for manifest in live.children:
        if manifest["kind"] != "Pod":
            if uid not in owners(manifest):
                continue
            generations[ref_of(manifest)] = int(manifest["metadata"].get("generation") or 0)
        if stage := stage_of(manifest):
            by_stage.setdefault(stage, []).append(manifest)
        elif manifest["kind"] == "ConfigMap":
            config_maps[manifest["metadata"]["name"]] = manifest.get("data") or {}
    first = {stage.name: stage.first_attempt for stage in before.stages if stage.first_attempt}
    stages = {
        name: _known_stage(name, by_stage.get(name, []), live, recorded, first.get(name, 0))
        for name in dict.fromkeys([*by_stage, *first])
    }
    return Observed(stages, config_maps, generations)


def _known_stage(
    name: str, manifests: list[Manifest], live: LiveObjects, recorded: frozenset[str], first_attempt: int
) -> ObservedStage:
    """Return the objects of a stage; from the cache if none has changed, as of most stages in most decisions."""
    pushed = {index: p for (stage, index), p in live.pushed.items() if stage == name}
    depends_on = (manifests, pushed, live.log_tails, live.warnings, live.kueue, recorded, first_attempt)
    return live.cache.get(f"stage {name}", depends_on, lambda: _stage(manifests, live, pushed, recorded, first_attempt))


def _stage(
    manifests: list[Manifest],
    live: LiveObjects,
    pushed: dict[int, PushedProgress],
    recorded: frozenset[str],
    first_attempt: int,
) -> ObservedStage:
    pods = [m for m in manifests if m["kind"] == "Pod"]
    workloads = []
    mine = [pod for pod in pods if pod["metadata"].get("uid") in recorded]
    left = {ref_of(pod): pod for pod in mine}
    for manifest in manifests:
        if manifest["kind"] in WORKLOADS:
            created = [p for p in pods if attempt_of(p) == attempt_of(manifest) and is_pod_of(p, manifest)]
            workload = observe_workload(manifest, created, live.log_tails, live.warnings)
            workloads.append(replace(workload, kueue=live.kueue))
            mine += [pod for pod in created if pod["metadata"].get("uid") not in recorded]
            left = {ref: pod for ref, pod in left.items() if pod not in created}
    services = tuple(m for m in manifests if m["kind"] == "Service")
    gpu_pods = tuple(map(gpu_pod, mine))
    return ObservedStage(tuple(workloads), services, pushed, first_attempt, gpu_pods, tuple(left.values()))
