"""The rules of comparison: for two kinds of values, whether the answer is right.

A rule gives True if the answer is right, False if it is wrong, and None if a doubt is left.
"""

from collections.abc import Callable
from typing import Any

from fusionrun_stages.grading.mathematics.reading.values import Value

Rule = Callable[[Any, Any], bool | None]

_RULES: dict[tuple[type, type], Rule] = {}
"""Filled by the modules of this package."""


def rule(golds: tuple[type, ...], answers: tuple[type, ...]) -> Callable[[Rule], Rule]:
    """Register a rule for each pair of these kinds that has none yet, and for the pair the other way round."""

    def register(function: Rule) -> Rule:
        for gold in golds:
            for answer in answers:
                _RULES.setdefault((gold, answer), function)
                _RULES.setdefault((answer, gold), function)
        return function

    return register


def compare(gold: Value, answer: Value) -> bool | None:
    """Compare two values. Kinds without a rule differ."""
    found = _RULES.get((type(gold), type(answer)))
    return False if found is None else found(gold, answer)
