"""The training data of a tiny model: the share of each skill, and the mistakes in it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from tiny import coding, instruction, mathematics
from tiny.network import Example
from tiny.skill import Use, draw_for

SKILLS: dict[str, ModuleType] = {skill.NAME: skill for skill in (mathematics, coding, instruction)}


@dataclass(frozen=True)
class Part:
    """The part of a skill in a blend.

    Attributes
    ----------
    weight
        The relative frequency of the skill.
    slips
        The fraction of its examples whose answer has a random mistake, in [0, 1).
    misread
        The fraction of the other examples whose answer has the systematic mistakes of the skill, in [0, 1).
    """

    weight: float
    slips: float = 0.0
    misread: float = 0.0


Blend = Mapping[str, Part]


def draw_from(blend: Blend, seed: int) -> Callable[[random.Random], Example]:
    """Return a function that draws examples of a blend from pretraining items."""
    streams = {name: draw_for(SKILLS[name], Use.PRETRAINING, random.Random(f"{seed} {name}")) for name in blend}
    names, weights = list(blend), [part.weight for part in blend.values()]

    def draw(rng: random.Random) -> Example:
        name = rng.choices(names, weights)[0]
        item = next(streams[name])
        if rng.random() < blend[name].slips:
            return item.prompt, SKILLS[name].corrupt(item, rng)
        if rng.random() < blend[name].misread:
            return item.prompt, SKILLS[name].misread(item)
        return item.prompt, item.answer

    return draw
