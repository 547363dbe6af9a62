"""Kubernetes quantities as numbers."""

import re
from fractions import Fraction

_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "k": Fraction(1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}  # fmt: skip
"""Source: k8s.io/apimachinery, pkg/api/resource (quantity.go)."""


def quantity(value: int | str) -> int:
    """Return a quantity that matches ``api.models.Quantity``, such as ``80Gi``, rounded down."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"\+?([0-9.]+)(?:[eE]([+-]?[0-9]+))?([A-Za-z]*)", value)
    if found is None:
        raise ValueError(value)
    number, exponent, suffix = found.groups()
    return int(Fraction(number) * Fraction(10) ** int(exponent or 0) * _SUFFIXES[suffix])
