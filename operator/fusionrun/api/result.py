"""What a pod says: its last words, and small numbers while it works."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.task import CONTRACT_VERSION

RESULT_MAX_BYTES = 3072
"""Longest encoded StageResult. Source: Kubernetes cuts a termination message at 4,096 bytes."""

_OF_DATASET = "@"


class Outcome(StrEnum):
    """How a pod ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class StageResult(Contract):
    """A pod's last words."""

    version: int = CONTRACT_VERSION
    outcome: Outcome
    user_error: bool = False
    """The user must change something; trying again is of no use."""
    server_wedged: bool = False
    """``generate`` only: its server took no token for ``stall_seconds``."""
    message: Annotated[str, Field(max_length=1024)] = ""
    cached: bool = False
    """The artifact was complete before the pod started."""
    counts: dict[str, int] = {}
    numbers: dict[str, float] = {}
    pins: list[str] = []
    """``resolve`` only: 12 hexadecimal digits per reference."""
    complete: list[int] = []
    """``resolve`` only: indexes of the planned stages whose artifact is complete."""


class Progress(Contract):
    """Small advisory numbers that a pod pushes to the operator while it works."""

    done: int
    total: int
    unit: str = ""
    numbers: Annotated[dict[str, float], Field(max_length=16)] = {}


def dataset_count(kind: str, dataset: str) -> str:
    """Name a count of one data set, of ``sft`` rows or ``pairs``: an over-long result leaves such counts out."""
    return f"{kind}{_OF_DATASET}{dataset}"


def encode_result(result: StageResult) -> str:
    """Return the result as JSON of at most ``RESULT_MAX_BYTES``.

    An over-long result loses the counts of single data sets, which the manifest on the volume has, too; then the end
    of its message. Other numbers are never left out.
    """
    text = result.model_dump_json(exclude_defaults=True)
    if len(text.encode()) > RESULT_MAX_BYTES:
        counts = {name: count for name, count in result.counts.items() if _OF_DATASET not in name}
        result = result.model_copy(update={"counts": counts})
        text = result.model_dump_json(exclude_defaults=True)
    excess = len(text.encode()) - RESULT_MAX_BYTES
    if excess > 0:
        shorter = result.message.encode()[: max(0, len(result.message.encode()) - 2 * excess)]
        text = result.model_copy(update={"message": shorter.decode(errors="ignore")}).model_dump_json(
            exclude_defaults=True
        )
    return text


def decode_result(text: str) -> StageResult | None:
    """Read a termination message; None when it is not a StageResult (a log tail, or nothing)."""
    try:
        return StageResult.model_validate_json(text)
    except ValidationError:
        return None
