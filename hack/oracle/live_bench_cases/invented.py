"""A question of LiveBench that is invented."""

from typing import Any, NamedTuple


class Invented(NamedTuple):
    """A question and responses to it."""

    category: str
    task: str
    prompt: str
    row: dict[str, Any]
    responses: list[str]
