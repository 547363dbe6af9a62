"""Types of the status whose values decisions depend on."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from fusionrun.api.storable import SUMMAND_MAX

ATTEMPTS_MAX = 100_000
"""Largest number of an attempt."""
GPUS_MAX = 1024
"""Largest number of GPUs of a pod."""


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must have a time zone")
    return text


def _within(limit: int) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not 0 <= value <= limit:
            raise ValueError(f"must be from 0 to {limit}")
        return value

    return check


# The schema of the CRD does not have these rules: an object that breaks them would refuse every change.
Time = Annotated[str, AfterValidator(_time)]
"""A timestamp in ISO 8601 with a time zone."""
Attempt = Annotated[int, AfterValidator(_within(ATTEMPTS_MAX))]
"""Number of an attempt, which is in names of objects."""
Total = Annotated[int, AfterValidator(_within(SUMMAND_MAX))]
"""A total that decisions depend on."""
Gpus = Annotated[float, AfterValidator(_within(GPUS_MAX))]
"""GPUs of a pod."""
