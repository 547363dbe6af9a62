"""What a FusionRun will do and what it needs, from its spec alone: plain values, which ``plan`` prints."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source, SourceType
from fusionrun.api.stage import ReferenceKind, StageKind
from fusionrun.api.status.estimate import Estimate
from fusionrun.names import API_VERSION, KIND
from fusionrun.plan.amounts import Amounts, amounts, total_rows
from fusionrun.plan.credentials import credentials
from fusionrun.plan.estimate import estimate
from fusionrun.plan.pods import gpu_cost_per_hour, parts
from fusionrun.plan.stages import Plan, Stage
from fusionrun.settings import Settings
from fusionrun.state.decide.prerequisites import missing, prerequisites

_SIZE = re.compile(r"(?<![0-9.xX])([0-9]+(?:\.[0-9]+)?)([bBmM])(?![A-Za-z0-9])")
_UNITS = {"b": 1e9, "m": 1e6}


@dataclass(frozen=True)
class Amount:
    """How many items a stage processes."""

    count: int
    unit: str
    is_complete: bool = True
    """False if the number of some data sets is unknown, and left out."""


@dataclass(frozen=True)
class StageOutline:
    """One stage."""

    name: str
    kind: str
    object: str
    """Kind of the Kubernetes object that runs its pods."""
    pods: int
    at_once: int
    """Largest number of its pods at the same time."""
    gpus_per_pod: int
    amount: Amount | None
    needs: tuple[str, ...]
    """Stages that must end first, and its server; without those that others in the list need themselves."""


@dataclass(frozen=True)
class Needed:
    """An object that must exist before the run can end. The operator creates none of them."""

    kind: str
    name: str
    fields: tuple[str, ...] = ()
    """Fields of the spec that name it."""
    keys: tuple[str, ...] = ()
    """Keys that a Secret must have."""


@dataclass(frozen=True)
class Download:
    """A model or a data set that ``resolve`` or ``fetch`` downloads."""

    field: str
    kind: str
    uri: str
    revision: str


def stages(spec: FusionRunSpec, plan: Plan) -> list[StageOutline]:
    """Return the stages in the order of the plan."""
    found, implied = amounts(spec), _all_needs(plan)
    return [
        StageOutline(
            name=stage.name,
            kind=stage.kind.value,
            object=stage.traits.workload.api_kind,
            pods=max(stage.completions, stage.pods),
            at_once=max(stage.pods, min(stage.completions, stage.parallelism)),
            gpus_per_pod=stage.gpus_per_pod,
            amount=_amount(found, stage),
            needs=_direct(stage, implied),
        )
        for stage in plan.stages
    ]


def _direct(stage: Stage, all_needs: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    needs = dict.fromkeys([*stage.needs, *([stage.server] if stage.server else [])])
    return tuple(name for name in needs if not any(name in all_needs[other] for other in needs))


def _all_needs(plan: Plan) -> dict[str, frozenset[str]]:
    """Return what each stage needs, directly or not; in the plan, a stage comes after those that it needs."""
    found: dict[str, frozenset[str]] = {}
    for stage in plan.stages:
        found[stage.name] = frozenset(stage.needs).union(*(found[name] for name in stage.needs))
    return found


def _amount(found: list[Amounts], stage: Stage) -> Amount | None:
    match stage.kind, stage.subject:
        case StageKind.PREPARE, _ if stage.subject_name == "prompts":
            return _sum([each.prompts for each in found], "prompts")
        case StageKind.GENERATE | StageKind.SCORE, Source() as source:
            if stage.kind is StageKind.GENERATE and source.type is SourceType.DATASET:
                return None
            counts = [each.by_source[source.name] for each in found if source.name in each.by_source]
            return _sum(counts, "responses")
        case StageKind.SFT, _:
            return _rows(found, "rows")
        case StageKind.DPO, _:
            return _rows(found, "pairs")
        case _:
            return None


def _rows(found: list[Amounts], unit: str) -> Amount | None:
    total = total_rows(found)
    is_complete = all(each.rows for each in found)
    count = total.sft_rows if unit == "rows" else total.pairs
    return Amount(count, unit, is_complete) if count or is_complete else None


def _sum(counts: list[int | None], unit: str) -> Amount | None:
    known = [count for count in counts if count is not None]
    return Amount(sum(known), unit, len(known) == len(counts)) if known else None


def parameters_of(plan: Plan) -> dict[str, int | None]:
    """Return the number of parameters of each model by its field, from its name; None if the name does not have it."""
    models = [reference for reference in plan.references if reference.kind is ReferenceKind.MODEL]
    return {model.field: parameters_in(model.uri) for model in models}


def parameters_in(uri: str) -> int | None:
    """Return the number of parameters in the name of a model, such as 72 billion of ``Qwen2.5-72B-Instruct``."""
    sizes = _SIZE.findall(uri.rstrip("/").rsplit("/", 1)[-1])
    return max((int(float(number) * _UNITS[unit.lower()]) for number, unit in sizes), default=None)


def expected(
    spec: FusionRunSpec,
    plan: Plan,
    parameters: Mapping[str, int | None],
    to_run: Collection[str],
    settings: Settings,
) -> Estimate:
    """Return the operator's estimate of the stages that run."""
    return estimate(spec, plan, parameters, to_run, partial(gpu_cost_per_hour, spec, settings))


def needed(spec: FusionRunSpec, namespace: str) -> list[Needed]:
    """Return the objects that must exist."""
    run = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": namespace, "name": "plan"},
        "spec": spec.model_dump(mode="json", exclude_none=True),
    }
    objects = []
    for ref in prerequisites(run):
        texts = [each.message for each in missing(namespace, spec, {ref: False})]
        objects.append(Needed(ref.kind, ref.name, tuple(dict.fromkeys(text.split(": ", 1)[0] for text in texts))))
    secrets: dict[str, Needed] = {}
    for found in credentials(spec):
        before = secrets.get(found.name, Needed("Secret", found.name))
        fields = (*before.fields, f"spec.{found.field}")
        secrets[found.name] = Needed("Secret", found.name, fields, tuple(dict.fromkeys([*before.keys, *found.keys])))
    return [*objects, *secrets.values(), *dict.fromkeys(_of_pods(spec))]


def _of_pods(spec: FusionRunSpec) -> Iterator[Needed]:
    for part in parts(spec):
        settings = part.settings
        if not isinstance(settings, PodSettings):
            continue
        if settings.service_account_name:
            yield Needed("ServiceAccount", settings.service_account_name, (f"spec.{part.field}.serviceAccountName",))
        for volume in settings.volumes:
            if volume.config_map:
                yield Needed("ConfigMap", volume.config_map.name, (f"spec.{part.field}.volumes[{volume.name}]",))


def downloads(plan: Plan) -> list[Download]:
    """Return what is downloaded; models and data sets on the claim are not."""
    return [
        Download(r.field, r.kind.value, r.uri, r.revision or "main" if r.uri.startswith("hf://") else "")
        for r in plan.references
        if not r.uri.startswith("pvc://")
    ]
