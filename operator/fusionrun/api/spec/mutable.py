"""The fields of a spec that may change during a run, because they are in no digest (docs/architecture.md).

``MUTABLE`` is the only table. ``api.crd.immutable_rules`` derives rules of admission from it, ``api.crd.definition`` a
sentence of the descriptions, and ``with_mutable_fields`` the spec that an accepted run continues with.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from pydantic.fields import FieldInfo

from fusionrun.api.contract import Contract
from fusionrun.api.spec.run import FusionRunSpec

_SERVER = ("tensorParallelSize", "pipelineParallelSize", "startupTimeoutSeconds")

MUTABLE = frozenset({
    "scheduling", "budget", "suspend", "backoffLimit", "activeDeadlineSeconds", "hub", "s3", "dataStages",
    "sandbox",
    "ttlSecondsAfterFinished",
    "preRunningDeadlineSeconds", "stageDeadlines",
    *(f"sources[].served.{name}" for name in _SERVER),
    "sources[].endpoint.apiKeySecretRef", "sources[].endpoint.prices", "sources[].endpoint.quota",
    "rewardModel.batchSize", "rewardModel.maxBatchTokens", "rewardModel.endpoint.apiKeySecretRef",
    "generation.concurrency", "generation.maxConcurrency", "generation.stallSeconds",
    "training.gradientCheckpointing", "training.offload", "training.reportTo", "training.mlflow",
    *(f"evaluation.server.{name}" for name in _SERVER),
    *(f"evaluateOnly.models[].server.{name}" for name in _SERVER),
    *(f"evaluation.judge.served.{name}" for name in _SERVER),
    "evaluation.judge.endpoint.apiKeySecretRef", "evaluation.judge.endpoint.prices",
    "evaluation.judge.endpoint.quota",
})  # fmt: skip
"""Paths of the mutable fields, besides those in ``MUTABLE_NAMES``; ``[]`` stands for each item of a list."""

MUTABLE_NAMES = frozenset({"resources", "replicas", "parallelism", "pod"})
"""Names of fields that are mutable wherever they are: how many pods a stage has, and where and how they run."""

KEY = "name"
"""The field that identifies an item of a list, in every list with mutable fields."""


@dataclass(frozen=True)
class SpecField:
    """A field of a spec."""

    name: str
    path: str
    required: bool
    inner: type[Contract] | None
    """Class of the value, or of the items of a list."""
    is_list: bool
    fields: "tuple[SpecField, ...]"
    """The fields of its value, or of each item."""

    @property
    def mutable(self) -> bool:
        """Whether the whole field may change: it is listed, or every field below it may change."""
        below = bool(self.fields) and not self.is_list and all(f.mutable for f in self.fields)
        return self.path in MUTABLE or self.name in MUTABLE_NAMES or below

    @cached_property
    def mixed(self) -> bool:
        """Whether only some fields below it may change."""
        return not self.mutable and any(f.mutable or f.mixed for f in self.fields)


def _fields_of(owner: type[Contract], prefix: str = "") -> tuple[SpecField, ...]:
    """Return the fields of a class; ``prefix`` is the path of its object, with a dot at the end."""
    return tuple(_field(info.alias or name, info, prefix) for name, info in owner.model_fields.items())


def _field(name: str, info: FieldInfo, prefix: str) -> SpecField:
    path, inner, is_list = f"{prefix}{name}", next(_classes(info.annotation), None), "list[" in str(info.annotation)
    below = _fields_of(inner, f"{path}[]." if is_list else f"{path}.") if inner else ()
    return SpecField(name, path, info.is_required(), inner, is_list, below)


def _classes(annotation: Any) -> Iterator[type[Contract]]:
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


SPEC_FIELDS = _fields_of(FusionRunSpec)
"""The fields of a spec."""


def mutable_paths() -> list[str]:
    """Return the path of every mutable field."""
    return list(_mutable_paths(SPEC_FIELDS))


def _mutable_paths(fields: Iterable[SpecField]) -> Iterator[str]:
    for field in fields:
        if field.mutable:
            yield field.path
        else:
            yield from _mutable_paths(field.fields)


MUTABLE_FIELDS = frozenset(f.name for f in SPEC_FIELDS if f.mutable)
"""Fields of the spec itself that may change as a whole."""


def with_mutable_fields(accepted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """Return an accepted spec, as JSON data, with the values that the mutable fields have in the live spec.

    A mutable field that the live spec omits has its default. Other fields of the live spec are not read: the CRD may
    have been that of another release when somebody changed them.
    """
    return _merged(SPEC_FIELDS, accepted, live)


def _merged(fields: Iterable[SpecField], accepted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    merged = dict(accepted)
    for field in fields:
        old, new = accepted.get(field.name), live.get(field.name)
        if field.mutable:
            merged.pop(field.name, None)
            if new is not None:
                merged[field.name] = new
        elif not field.mixed:
            continue
        elif field.is_list:
            items = {item.get(KEY): item for item in new or []}
            merged[field.name] = [_merged(field.fields, item, items.get(item[KEY], item)) for item in old or []]
        elif old is not None or (new and not any(f.required for f in field.fields)):
            merged[field.name] = _merged(field.fields, old or {}, new or {})
    return merged
