"""The result of a grader that gives points: the share of a question that a response solves."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mark:
    """Points of one response to a question of a benchmark."""

    value: float | None
    """From 0 (wrong) to 1 (right); None if the question cannot be graded, for any response."""
    detail: str = ""
    """Why the value is not 1."""
    parsed: bool = True
    """Whether the response has a recognisable answer."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Values of the protocol's other metrics, from 0 to 1, by name."""
