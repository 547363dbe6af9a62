"""Read sets of real numbers: intervals, unions, inequalities and set-builder notation."""

import re
from typing import Any

from fusionrun_stages.grading.mathematics.reading.parts import read_part
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError
from fusionrun_stages.grading.mathematics.reading.values import Items, Quantity, Region, Value, to_sympy

_BUILDER = re.compile(
    r"\\\{ ?([a-zA-Z]) ?((?:\\in (?:\\reals|R)(?: |(?=\||\\)))?) ?(?:\\mid(?![a-z])|\||:|\\colon) ?(.+?) ?\\\}"
)
_EMPTY_SET = re.compile(r"\\emptyset|\\\{ ?\\\}")


def read_builder(text: str, depth: int) -> Value | None:
    """Return the set of ``{x | x < 0}``."""
    found = _BUILDER.fullmatch(text)
    if found is None:
        return None
    inner = read_part(found[3], depth + 1)
    if not isinstance(inner, Region):
        raise NotReadError(text)
    return inner


def read_region(text: str, depth: int) -> Value | None:
    """Return the empty set, the real numbers, or a union, section or complement."""
    import sympy

    if _EMPTY_SET.fullmatch(text):
        return Region(sympy.S.EmptySet)
    if text.strip() in {"\\reals", "R"} and "\\" in text:
        return Region(sympy.S.Reals)
    for mark, join in (("\\cup", sympy.Union), ("\\cap", sympy.Intersection)):
        if mark in text:
            parts = [as_region(read_part(part, depth + 1)) for part in text.split(mark)]
            if None in parts:
                raise NotReadError(text)
            return Region(join(*parts))
    if (found := re.fullmatch(r"\\reals ?(?:\\setminus|\\backslash|-) ?(\\\{.*\\\})", text)) is not None:
        removed = as_region(read_part(found[1], depth + 1))
        return Region(sympy.Complement(sympy.S.Reals, removed))
    return None


def as_region(value: Value) -> Any:
    """Return the set of an interval in brackets, of a set or of a region; None for anything else."""
    import sympy

    if isinstance(value, Region):
        return value.numbers
    if not isinstance(value, Items) or not value.brackets or value.brackets == ";":
        return None
    numbers = [item.value for item in value.items if isinstance(item, Quantity) and not item.symbols and not item.unit]
    if len(numbers) != len(value.items):
        return None
    ends = [to_sympy(number) for number in numbers]
    if value.brackets == "{}" and len(ends) == len(value.items) and all(end.is_extended_real for end in ends):
        return sympy.FiniteSet(*ends)
    if (
        len(ends) != len(value.items)
        or len(ends) != 2
        or not all(end.is_extended_real for end in ends)
        or not ends[0] < ends[1]
    ):
        return None
    return sympy.Interval(*ends, left_open=value.brackets[0] == "(", right_open=value.brackets[1] == ")")
