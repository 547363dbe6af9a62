"""Invent questions of each task of LiveBench, and responses: right, near right and garbled.

Nothing here is of the benchmark's data: the rows have the same columns and the same formats.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial

from oracle.live_bench_cases.instructions import CHECKED, follow
from oracle.live_bench_cases.invented import Invented
from oracle.live_bench_cases.language import column_type, connections, plot, typos
from oracle.live_bench_cases.mathematics import aime, amps_hard, choice, olympiad
from oracle.live_bench_cases.reasoning import house_traversal, spatial, web_of_lies, zebra
from oracle.live_bench_cases.tables import join, reformat
from oracle.live_bench_cases.values import KINDS

__all__ = ["Invented", "cases"]


def garbled(response: str, chance: random.Random) -> list[str]:
    """Return what a model that fails could make of a response."""
    if not response:
        return []
    cut = chance.randrange(len(response))
    letters = chance.sample(range(len(response)), min(len(response), 2))
    changed = "".join("*" if index in letters else character for index, character in enumerate(response))
    return [response[:cut], response[cut:], changed, f"{response}\n\nI hope this helps!", response.replace(" ", "  ")]


MAKERS: dict[str, tuple[Callable[[random.Random], Invented], int]] = {
    "choice": (choice, 6),
    "aime": (aime, 3),
    "olympiad": (olympiad, 5),
    **{name: (partial(amps_hard, name), 2) for name in KINDS},
    "web_of_lies": (web_of_lies, 4),
    "zebra": (zebra, 8),
    "spatial": (spatial, 10),
    "house_traversal": (house_traversal, 4),
    "connections": (connections, 4),
    "typos": (typos, 3),
    "plot": (plot, 4),
    "column_type": (column_type, 6),
    "join": (join, 5),
    "reformat": (reformat, 20),
    **{name: (partial(follow, name), 2) for name in CHECKED},
}
"""What invents a question, and how many of them the fixture has."""


def cases(factor: int = 1, seed: int = 83) -> Iterator[Invented]:
    """Yield the questions, each with different responses."""
    for name, (make, count) in MAKERS.items():
        chance = random.Random(f"{name} {seed}")
        for _ in range(count * factor):
            made = make(chance)
            responses = [*made.responses]
            for response in chance.sample(made.responses, min(3, len(made.responses))):
                responses += garbled(response, chance)
            yield made._replace(responses=list(dict.fromkeys(responses)))
