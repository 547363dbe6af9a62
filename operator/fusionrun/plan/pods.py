"""Which settings apply to the pods of a stage: those of its part of the spec, of the run and of the operator.

``parts`` is the only table: the places in the spec with settings of pods.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, TypeVar

from fusionrun.api.spec.endpoints import Endpoint
from fusionrun.api.spec.pods import NodeRequirement, PodScheduling, PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerOverride
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.api.stage import EvaluatedModel, PreflightSubject, StageKind
from fusionrun.plan.gpus import cost_per_hour
from fusionrun.plan.kinds import Workload
from fusionrun.plan.servers import OF_EVALUATION, OF_JUDGE, server_field
from fusionrun.plan.stages import Evaluated, JudgeServer, Stage
from fusionrun.settings import Settings

T = TypeVar("T", bound=PodScheduling)

RUN_WIDE = "scheduling"
"""Field with the settings of all pods of a run."""
DATA_STAGES = "dataStages.pod"
ISOLATED_KEYS = frozenset({
    "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt", "linkerd.io/inject",
    "sidecar.istio.io/inject",
})  # fmt: skip
"""Labels and annotations that a run may set on pods that run foreign code: none changes the network of a pod, its
RuntimeClass or its identity. Others, such as those of Multus, Kata and of workload identity, can."""
IDENTITY_PREFIX = "azure.workload.identity/"
"""Labels and annotations with which a webhook adds a token to a pod. Source: Azure Workload Identity, "Labels and
Annotations"."""
_MAPS = ("labels", "annotations", "node_selector")
_BY_KEY = {"env": "name", "volumes": "name", "volume_mounts": "mount_path"}
_ADDED = ("tolerations", "topology_spread_constraints")


@dataclass(frozen=True)
class Part:
    """A part of the spec with settings of pods."""

    field: str
    settings: PodScheduling
    isolated: bool = False
    """Whether the pods run foreign code: programs that models wrote, or code of a model."""


def parts(spec: FusionRunSpec) -> Iterator[Part]:
    """Yield the settings of all pods, then those of each part of the spec that sets some."""
    yield Part(RUN_WIDE, spec.scheduling)
    for source in spec.sources:
        if source.served and source.served.pod:
            field = f"sources[{source.name}].served.pod"
            yield Part(field, source.served.pod, isolated=source.served.model.trust_remote_code)
    for model in spec.evaluate_only.models if spec.evaluate_only else []:
        if model.server and model.server.pod:
            yield Part(f"{server_field(model)}.pod", model.server.pod, isolated=model.model.trust_remote_code)
    reward = spec.reward_model
    isolated = reward.model is not None and reward.model.trust_remote_code
    server, judge = spec.evaluation.server, spec.evaluation.judge
    served = judge.served if judge else None
    for part in (
        Part("rewardModel.pod", reward.pod, isolated=isolated) if reward.pod else None,
        Part("training.pod", spec.training.pod) if spec.training.pod else None,
        Part(f"{OF_EVALUATION}.pod", server.pod, isolated=_measures_remote_code(spec))
        if server and server.pod
        else None,
        Part(f"{OF_JUDGE}.pod", served.pod, isolated=served.model.trust_remote_code) if served and served.pod else None,
        Part(DATA_STAGES, spec.data_stages.pod) if spec.data_stages.pod else None,
        Part("sandbox.pod", spec.sandbox.pod, isolated=True) if spec.sandbox.pod else None,
    ):
        if part:
            yield part


def _measures_remote_code(spec: FusionRunSpec) -> bool:
    return spec.evaluate_only is not None and any(m.model.trust_remote_code for m in spec.evaluate_only.models)


def part_field(stage: Stage) -> str:
    """Return the field of the spec with the settings of the pods of a stage."""
    if stage.traits.workload is Workload.SANDBOX_JOB:
        return "sandbox.pod"
    match stage.kind:
        case StageKind.SERVE:
            return _server_part(stage)
        case kind if (kind is StageKind.SCORE or stage.subject is PreflightSubject.REWARD) and stage.endpoint is None:
            return "rewardModel.pod"
        case kind if kind is StageKind.PROMOTE or stage.backend is not None:
            return "training.pod"
        case _:
            return DATA_STAGES


def _server_part(stage: Stage) -> str:
    match stage.subject:
        case EvaluatedModel() | MeasuredModel() as model:
            return server_part(model)
        case JudgeServer():
            return f"{OF_JUDGE}.pod"
        case _:
            return f"sources[{stage.subject_name}].served.pod"


def server_part(model: Evaluated) -> str:
    """Return the field with the settings of the pods that serve an evaluated model."""
    match model:
        case MeasuredModel(server=ServerOverride(pod=PodSettings())):
            return f"{server_field(model)}.pod"
        case _:
            return f"{OF_EVALUATION}.pod"


def gpu_cost_per_hour(spec: FusionRunSpec, settings: Settings, stage: Stage) -> float:
    """Return what the devices of all pods of a stage cost in an hour."""
    selector = pod_settings(spec, stage, settings, gpus=True).node_selector
    return cost_per_hour(stage.devices, selector, settings.accelerators) * stage.pods


def has_price(spec: FusionRunSpec, settings: Settings, stage: Stage) -> bool:
    """Return whether a stage costs something: its devices have a price, or it calls an endpoint that has prices."""
    is_paid = isinstance(stage.endpoint, Endpoint) and stage.endpoint.prices is not None
    return is_paid or gpu_cost_per_hour(spec, settings, stage) > 0


def pod_settings(spec: FusionRunSpec, stage: Stage, settings: Settings, *, gpus: bool) -> PodSettings:
    """Return the settings of the pods of a stage; ``gpus`` is whether they request GPUs.

    Settings of the part extend those of the run, which extend those of the operator. Pods that run foreign code take
    only the labels and annotations in ``ISOLATED_KEYS`` from the run. Pods of the sandbox have no variables and no
    volumes, and their RuntimeClass is ``scheduling.sandboxRuntimeClassName``.
    """
    by_field = {part.field: part.settings for part in parts(spec)}
    gpu_class = spec.scheduling.gpu_runtime_class_name if gpus else None
    operator = [settings.pod_defaults, *([settings.gpu_pod_defaults] if gpus else [])]
    own = by_field.get(part_field(stage), PodScheduling())
    run: list[PodScheduling] = [spec.scheduling, PodSettings(runtime_class_name=gpu_class), own]
    sandbox = stage.traits.workload is Workload.SANDBOX_JOB
    if sandbox or stage.remote_code:
        operator = [_only_keys(each, lambda key: not key.startswith(IDENTITY_PREFIX)) for each in operator]
        run = [_only_keys(each, ISOLATED_KEYS.__contains__) for each in run]
    layers: list[PodScheduling] = [*operator, *run]
    if sandbox:
        layers = [_scheduling(layer) for layer in layers]
        layers.append(PodSettings(runtime_class_name=spec.scheduling.sandbox_runtime_class_name))
    return reduce(merge, layers, PodSettings())


def merge(base: PodSettings, over: PodScheduling) -> PodSettings:
    """Return settings that extend others.

    Maps are merged by key, variables and volumes by name, and mounts by path. Tolerations and spread constraints are
    added. Other fields are replaced.
    """
    changes: dict[str, Any] = {}
    for name in _merged_fields(type(over)):
        old, new = getattr(base, name), getattr(over, name)
        if not new:
            continue
        if name in _MAPS:
            new = {**(old or {}), **new}
        elif name in _ADDED:
            new = [*old, *(each for each in new if each not in old)]
        elif key := _BY_KEY.get(name):
            new = list({getattr(each, key): each for each in (*old, *new)}.values())
        changes[name] = new
    return base.model_copy(update=changes)


@cache
def _merged_fields(kind: type[PodScheduling]) -> tuple[str, ...]:
    """Return the fields of ``PodSettings`` that a class of settings has. ``Scheduling`` has others as well."""
    return tuple(name for name in kind.model_fields if name in PodSettings.model_fields)


def node_labels(settings: PodScheduling) -> list[str]:
    """Return the keys of the labels by which settings choose nodes."""
    affinity = settings.affinity.node_affinity if settings.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else None
    terms = [*(required.node_selector_terms if required else []), *(p.preference for p in preferred or [])]
    requirements: list[NodeRequirement] = []
    for term in terms:
        requirements += [*(term.match_expressions or []), *(term.match_fields or [])]
    return list(dict.fromkeys([*(settings.node_selector or {}), *(r.key for r in requirements)]))


def _scheduling(settings: PodScheduling) -> PodScheduling:
    return PodScheduling(**{name: getattr(settings, name) for name in PodScheduling.model_fields})


def _only_keys(settings: T, allowed: Callable[[str], bool]) -> T:
    """Return settings with some of their labels and annotations only."""
    maps = {name: getattr(settings, name) for name in ("labels", "annotations")}
    kept = {name: {k: v for k, v in values.items() if allowed(k)} for name, values in maps.items()}
    return settings.model_copy(update=kept)
