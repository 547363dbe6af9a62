"""What a pod reports: a StageResult in its termination message at the end, and Progress while it runs."""

from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import to_json

from fusionrun.api.contract import Contract
from fusionrun.api.results.release_0_2 import PEAK_MEMORY, FlatValues, flatten, unflatten
from fusionrun.api.results.shorter import shorter_forms
from fusionrun.api.results.values import Values
from fusionrun.api.storable import NUMBER_MAX, OptionalCount
from fusionrun.api.tasks.task import CONTRACT_VERSION

RESULT_MAX_BYTES = 3072
"""Longest encoded StageResult, but for pins and scores: those of the largest spec take 3.2 KB. Source: Kubernetes cuts
a termination message at 4,096 bytes."""
COUNT_MAX = 2**53
"""Largest integer of a Progress. Source: RFC 8259, section 6: up to it, every JSON reader agrees on an integer."""
NAME_MAX = 32
"""Longest unit, and longest name of a number, of a Progress."""
NUMBERS_MAX = 16
"""Most numbers of a Progress."""
LOST_PEER = "lost a peer"
"""Start of the message of a rank that fails because another rank failed."""
STOPPED = "stopped by SIGTERM"
"""Message of a process that SIGTERM ended."""


class Outcome(StrEnum):
    """How a pod ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class StageResult(Contract):
    """What a pod reports when it ends."""

    version: int = CONTRACT_VERSION
    outcome: Outcome
    user_error: bool = False
    """The user must change something: a retry cannot succeed."""
    server_wedged: bool = False
    """``generate`` only: its server generated no token for ``stall_seconds``."""
    message: Annotated[str, Field(max_length=1024)] = ""
    cached: bool = False
    """The artifact was complete before the pod started."""
    peak_memory_bytes: OptionalCount = None
    """Largest resident memory of a process of the pod."""
    values: Values | None = None
    """None if the pod failed."""
    checkpoint_step: OptionalCount = None
    """A failed training only: the step of the newest complete checkpoint."""


class Progress(Contract):
    """Advisory numbers that a pod pushes to the operator while it runs.

    The bounds are those of the status fields that show the numbers.
    """

    done: Annotated[int, Field(ge=0, le=COUNT_MAX)]
    total: Annotated[int, Field(ge=0, le=COUNT_MAX)]
    unit: Annotated[str, Field(max_length=NAME_MAX)] = ""
    numbers: Annotated[
        dict[
            Annotated[str, Field(max_length=NAME_MAX)],
            Annotated[float, Field(ge=-NUMBER_MAX, le=NUMBER_MAX, allow_inf_nan=False)],
        ],
        Field(max_length=NUMBERS_MAX),
    ] = {}


def encode_result(result: StageResult) -> str:
    """Return the result as JSON of at most ``RESULT_MAX_BYTES``, or more if pins, complete stages or scores need it.

    A result that is too long loses detail in this order: what release 0.2 only displays, the counts of data sets, win
    rates, and the end of the message. Pins, complete stages and scores are never left out. The manifest on the volume
    has everything.
    """
    for fields in _forms(result):
        text = to_json(fields)
        if len(text) <= RESULT_MAX_BYTES:
            return text.decode()
    kept = bisect_right(
        range(len(result.message)),
        RESULT_MAX_BYTES,
        key=lambda length: len(to_json(fields | {"message": result.message[: length + 1]})),
    )
    return to_json(fields | {"message": result.message[:kept]}).decode()


def _forms(result: StageResult) -> Iterator[dict[str, Any]]:
    """Yield the encoded fields of a result with less and less detail."""
    common = result.model_dump(mode="json", exclude_defaults=True, exclude={"values"})
    *longer, flat = (
        form.model_dump(mode="json", exclude_defaults=True) for form in flatten(result.values, result.peak_memory_bytes)
    )
    for form in longer:
        yield common | _typed(result.values) | form
    for values in (result.values, *shorter_forms(result.values)):
        yield common | _typed(values) | flat
    yield common | flat


def _typed(values: Values | None) -> dict[str, Any]:
    if values is None:
        return {}
    return {"values": {"kind": values.kind, **values.model_dump(mode="json", exclude_defaults=True)}}


def decode_result(text: str, kind: str = "") -> StageResult | None:
    """Read a termination message; return None if it is not a StageResult (the end of a log, or empty).

    ``kind`` is the kind of the pod's stage, which a result of release 0.2 does not name. A failed pod needs none.
    """
    try:
        result = StageResult.model_validate_json(text)
        if result.values is not None or result.outcome is Outcome.FAILED:
            return result
        flat = FlatValues.model_validate_json(text)
    except ValidationError:
        return None
    memory = flat.counts.get(PEAK_MEMORY)
    return result.model_copy(update={"values": unflatten(kind, flat), "peak_memory_bytes": memory})
