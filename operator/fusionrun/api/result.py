"""What a pod says: its last words, and small numbers while it works."""

import math
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.data import SHARDS_MAX
from fusionrun.api.task import CONTRACT_VERSION

RESULT_MAX_BYTES = 3072
"""Longest encoded StageResult. Source: Kubernetes cuts a termination message at 4,096 bytes."""

_OF_DATASET = "@"

COUNT_MAX = 2**53
"""Largest count that is taken. Source: RFC 8259, section 6: up to here every JSON reader agrees on an integer; and what
the API server stores is an int64."""
NUMBER_MAX = 1e15
"""Largest magnitude of a measured number that is taken: the sum over ``SHARDS_MAX`` pods still fits an int64."""
SUMMAND_MAX = 2**62 // SHARDS_MAX
"""Largest count of a pod's result that is taken, for the same reason."""


def _storable_counts(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if abs(count) <= SUMMAND_MAX}


def _storable_numbers(numbers: dict[str, float]) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if math.isfinite(number) and abs(number) <= NUMBER_MAX}


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
    counts: Annotated[dict[str, int], AfterValidator(_storable_counts)] = {}
    """A count that no status can hold is left out: the outcome is worth more than one number."""
    numbers: Annotated[dict[str, float], AfterValidator(_storable_numbers)] = {}
    """NaN, infinity and what is beyond ``NUMBER_MAX`` (a loss that diverged) are left out, too."""
    pins: list[str] = []
    """``resolve`` only: 12 hexadecimal digits per reference."""
    complete: list[int] = []
    """``resolve`` only: indexes of the planned stages whose artifact is complete."""


class Progress(Contract):
    """Small advisory numbers that a pod pushes to the operator while it works.

    The bounds are those of the status that the numbers end in: whatever passes them can be written.
    """

    done: Annotated[int, Field(ge=0, le=COUNT_MAX)]
    total: Annotated[int, Field(ge=0, le=COUNT_MAX)]
    unit: Annotated[str, Field(max_length=32)] = ""
    numbers: Annotated[
        dict[
            Annotated[str, Field(max_length=32)],
            Annotated[float, Field(ge=-NUMBER_MAX, le=NUMBER_MAX, allow_inf_nan=False)],
        ],
        Field(max_length=16),
    ] = {}


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
