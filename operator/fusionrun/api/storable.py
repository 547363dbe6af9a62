"""Numbers that a status can contain; others are left out."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from fusionrun.api.spec.data import SHARDS_MAX

NUMBER_MAX = 1e15
"""Largest magnitude of a measured number: the sum over ``SHARDS_MAX`` pods fits an int64."""
SUMMAND_MAX = 2**62 // SHARDS_MAX
"""Largest magnitude of a count: the sum over ``SHARDS_MAX`` pods fits an int64."""


def bounded(total: float) -> int:
    """Return a total that is not negative, rounded, and at most ``SUMMAND_MAX``."""
    return min(round(total), SUMMAND_MAX)


def _is_storable(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= SUMMAND_MAX
    return not isinstance(value, float) or (math.isfinite(value) and abs(value) <= NUMBER_MAX)


def _storable_items(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if _is_storable(value)}


Count = Annotated[int, BeforeValidator(lambda value: value if _is_storable(value) else 0)]
"""An integer; 0 if it is larger than ``SUMMAND_MAX``."""
OptionalCount = Annotated[int | None, BeforeValidator(lambda value: value if _is_storable(value) else None)]
"""An integer; None if it is larger than ``SUMMAND_MAX``."""
Number = Annotated[float | None, BeforeValidator(lambda value: value if _is_storable(value) else None)]
"""A measured number; None if it is NaN (a loss that diverged), infinite or larger than ``NUMBER_MAX``."""
Counts = Annotated[dict[str, int], AfterValidator(_storable_items)]
Numbers = Annotated[dict[str, float], AfterValidator(_storable_items)]
