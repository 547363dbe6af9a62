"""What the three skills have in common: an item, and how items are shared out so that no two uses meet.

It knows nothing of models. A skill module offers `draw`, `corrupt`, `misread` and
`is_right` over the `Item` of this module.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Use(Enum):
    """What an item may be used for; every item has exactly one use, decided by a hash of its content."""

    PRETRAINING = "pretraining"
    PROMPTS = "prompts"
    BENCHMARK = "benchmark"


@dataclass(frozen=True)
class Item:
    """One exercise with its right answer.

    Attributes
    ----------
    key
        What makes two items the same exercise, whatever the wording of the prompt.
    reference
        What the answer is checked against: the sum, the result, or the solution's source.
    tests
        Python assert statements; only programs have them.
    """

    key: str
    prompt: str
    answer: str
    reference: str
    tests: tuple[str, ...] = field(default=())


class Skill(Protocol):
    """A module that makes exercises of one kind."""

    NAME: str

    @staticmethod
    def draw(rng: random.Random) -> Item:
        """Make a random exercise."""
        ...

    @staticmethod
    def corrupt(item: Item, rng: random.Random) -> str:
        """Write a wrong answer that somebody could have given."""
        ...

    @staticmethod
    def misread(item: Item) -> str:
        """Answer as somebody with this skill's usual misconceptions would; it may be right."""
        ...

    @staticmethod
    def is_right(item: Item, text: str) -> bool:
        """Tell whether an answer is right."""
        ...


def find_use(key: str) -> Use:
    """Give the one use of an item: a tenth are prompts, a tenth the benchmark, the rest pre-training."""
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 10
    if bucket == 0:
        return Use.BENCHMARK
    return Use.PROMPTS if bucket == 1 else Use.PRETRAINING


def draw_for(skill: Skill, use: Use, rng: random.Random) -> Iterator[Item]:
    """Yield random items of one use for ever."""
    while True:
        item = skill.draw(rng)
        if find_use(f"{skill.NAME}:{item.key}") is use:
            yield item


def draw_distinct(skill: Skill, use: Use, count: int, rng: random.Random) -> list[Item]:
    """Draw `count` items of one use, no two of them the same exercise."""
    found: dict[str, Item] = {}
    for item in draw_for(skill, use, rng):
        found.setdefault(item.key, item)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("draw_for never ends")
