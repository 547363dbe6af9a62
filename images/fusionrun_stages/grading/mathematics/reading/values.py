"""What an answer can be."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from fusionrun_stages.grading.mathematics.reading.units import Unit


@dataclass(frozen=True)
class Quantity:
    """A number or a formula, perhaps with a unit."""

    value: Any
    """A Fraction, or a SymPy expression."""
    places: int | None = None
    """Digits after the point if it is written as a decimal; it may be rounded then."""
    significant: int = 0
    unit: Unit | None = None
    percent: bool = False

    @property
    def symbols(self) -> frozenset[Any]:
        """Its variables."""
        return frozenset() if isinstance(self.value, Fraction) else frozenset(self.value.free_symbols)


@dataclass(frozen=True)
class Items:
    """Several values."""

    items: "tuple[Value, ...]"
    brackets: str = ""
    """Empty for a list in any order, ``;`` for blanks in order, ``{}`` for a set, else the brackets, as ``[)``."""


@dataclass(frozen=True)
class Labelled:
    """A value with a name in front of it, as ``x = 5``."""

    label: str
    value: "Value"
    equation: "Equation | None" = None


@dataclass(frozen=True)
class Equation:
    """``difference = 0``, or a relation with another sign."""

    difference: Any
    relation: str = "="


@dataclass(frozen=True)
class Region:
    """A set of real numbers."""

    numbers: Any


@dataclass(frozen=True)
class Matrix:
    """Rows of values."""

    rows: "tuple[tuple[Value, ...], ...]"


@dataclass(frozen=True)
class Based:
    """A number in a base that is written next to it."""

    digits: str
    base: int


@dataclass(frozen=True)
class Clock:
    """A time of day."""

    minutes: Fraction
    half: str
    """``am``, ``pm`` or empty."""
    text: str


@dataclass(frozen=True)
class Ratio:
    """Terms joined by colons."""

    terms: tuple[Quantity, ...]


@dataclass(frozen=True)
class Choice:
    """Letters of choices, perhaps with the text of the choice."""

    letters: str
    rest: "Value | None" = None


@dataclass(frozen=True)
class Words:
    """A text in words."""

    text: str


@dataclass(frozen=True)
class Written:
    """A notation that is only compared as it is written, as a sequence with dots."""

    text: str


Value = Quantity | Items | Labelled | Equation | Region | Matrix | Based | Clock | Ratio | Choice | Words | Written


def to_sympy(value: Any) -> Any:
    """Return the SymPy number of a Fraction; other values as they are."""
    import sympy

    return sympy.Rational(value.numerator, value.denominator) if isinstance(value, Fraction) else value
