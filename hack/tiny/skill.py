"""Items of the three skills, each with one use, so that training and evaluation share no item.

A skill is a module with `NAME` and four functions: `draw` draws a random item, `corrupt` writes a wrong answer with a
plausible random mistake, `misread` writes an answer with the systematic mistakes of the skill (which may be right), and
`is_right` checks an answer.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType


class Use(Enum):
    """The use of an item, selected by a hash of its content."""

    PRETRAINING = "pretraining"
    PROMPTS = "prompts"
    BENCHMARK = "benchmark"


@dataclass(frozen=True)
class Item:
    """An exercise with its right answer.

    Attributes
    ----------
    key
        The identity of the exercise, independent of the wording of the prompt.
    reference
        What an answer is compared with: the sum, the result, or the source code of the solution.
    tests
        Python assert statements, for programs only.
    """

    key: str
    prompt: str
    answer: str
    reference: str
    tests: tuple[str, ...] = ()


def find_use(key: str) -> Use:
    """Return the use of an item: a tenth are prompts, a tenth the benchmark, the rest pretraining."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 10
    if bucket == 0:
        return Use.BENCHMARK
    return Use.PROMPTS if bucket == 1 else Use.PRETRAINING


def draw_for(skill: ModuleType, use: Use, rng: random.Random) -> Iterator[Item]:
    """Yield random items of one use, without end."""
    while True:
        item = skill.draw(rng)
        if find_use(f"{skill.NAME}:{item.key}") is use:
            yield item


def draw_distinct(skill: ModuleType, use: Use, count: int, rng: random.Random) -> list[Item]:
    """Draw `count` different items of one use."""
    found: dict[str, Item] = {}
    for item in draw_for(skill, use, rng):
        found.setdefault(item.key, item)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("draw_for never ends")
