"""The fields of a spec that may change during a run, because they are in no digest (docs/architecture.md).

``MUTABLE`` is the only table. ``api.rules`` derives the rules of admission from it, ``api.crd`` a sentence of the
descriptions, and ``with_mutable_fields`` the spec that an accepted run continues with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from fusionrun.api.contract import Contract
from fusionrun.api.spec import FusionRunSpec

_SERVER = ("tensorParallelSize", "pipelineParallelSize", "startupTimeoutSeconds")

MUTABLE = frozenset({
    "scheduling", "budget", "suspend", "backoffLimit", "activeDeadlineSeconds", "hub", "s3", "dataStages",
    "sandbox",
    "ttlSecondsAfterFinished",
    *(f"sources[].served.{name}" for name in _SERVER),
    "sources[].endpoint.apiKeySecretRef", "sources[].endpoint.prices", "sources[].endpoint.quota",
    "rewardModel.batchSize", "rewardModel.endpoint.apiKeySecretRef",
    "generation.concurrency", "generation.maxConcurrency", "generation.stallSeconds",
    "training.gradientCheckpointing",
    *(f"evaluation.server.{name}" for name in _SERVER),
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

    @property
    def mutable(self) -> bool:
        """Whether the whole field may change."""
        return self.path in MUTABLE or self.name in MUTABLE_NAMES

    @property
    def fields(self) -> "list[SpecField]":
        """The fields of its value, or of each item."""
        return fields_of(self.inner, f"{self.path}[]." if self.is_list else f"{self.path}.") if self.inner else []

    @property
    def mixed(self) -> bool:
        """Whether only some fields below it may change."""
        return not self.mutable and any(f.mutable or f.mixed for f in self.fields)


def fields_of(owner: type[Contract], prefix: str = "") -> list[SpecField]:
    """Return the fields of a class; ``prefix`` is the path of its object, with a dot at the end."""
    fields = []
    for name, info in owner.model_fields.items():
        alias = info.alias or name
        inner = next(_classes(info.annotation), None)
        is_list = "list[" in str(info.annotation)
        fields.append(SpecField(alias, f"{prefix}{alias}", info.is_required(), inner, is_list))
    return fields


def _classes(annotation: Any) -> Iterator[type[Contract]]:
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def mutable_paths() -> list[str]:
    """Return the path of every mutable field."""
    return list(_mutable_paths(fields_of(FusionRunSpec)))


def _mutable_paths(fields: list[SpecField]) -> Iterator[str]:
    for field in fields:
        if field.mutable:
            yield field.path
        else:
            yield from _mutable_paths(field.fields)


MUTABLE_FIELDS = frozenset(f.name for f in fields_of(FusionRunSpec) if f.mutable)
"""Fields of the spec itself that may change as a whole."""


def with_mutable_fields(accepted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """Return an accepted spec, as JSON data, with the values that the mutable fields have in the live spec.

    A mutable field that the live spec omits has its default. Other fields of the live spec are not read: the CRD may
    have been that of another release when somebody changed them.
    """
    return _merged(fields_of(FusionRunSpec), accepted, live)


def _merged(fields: list[SpecField], accepted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
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
