"""Samples in which one value is replaced by another, of any type."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
VALUES: tuple[Any, ...] = (
    None, [], {}, "", 0, -1, 1.5, 10**9, True, "x", "x" * 2000, "1Gi", {"a": 1}, [None], [1], ["x"], {"name": "x"},
)  # fmt: skip


def mutated(seed: int, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was replaced, and the run."""
    chance = random.Random(seed)
    runs = [yaml.safe_load(path.read_text()) for path in SAMPLES]
    for _ in range(count):
        run = copy.deepcopy(chance.choice(runs))
        *parents, last = chance.choice(list(_places(run["spec"], ("spec",))))
        parent: Any = run
        for step in parents:
            parent = parent[step]
        parent[last] = chance.choice(VALUES)
        yield f"{run['metadata']['name']}: {'.'.join(map(str, [*parents, last]))} = {str(parent[last])[:40]!r}", run


def _places(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from _places(item, (*place, step))
