"""The result of a check, and what checks share."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

Item = dict[str, Any]


class Level(Enum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """Something is missing that some runs need, or may disturb them."""
    MISSING = "MISSING"
    """Without it, no run works."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One row of the table."""

    check: str
    level: Level
    found: str
    advice: str = ""


class Reader(Protocol):
    """What reads the cluster (``cli.kubectl``)."""

    def read(self, *words: str) -> Any:
        """Return the JSON that kubectl prints."""

    def text(self, *words: str) -> str:
        """Return the text that kubectl prints."""


Check = Callable[[Reader, str], Iterator[Finding]]
"""Asks about the cluster and one namespace."""


def required(*, is_met: bool) -> Level:
    """Return the level of something that every run needs."""
    return Level.OK if is_met else Level.MISSING


def useful(*, is_met: bool) -> Level:
    """Return the level of something that some runs need."""
    return Level.OK if is_met else Level.NOTE


def numbers(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version such as ``v1.34.4``."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
