"""Read equations, inequalities and named values."""

import re
from typing import Any

from fusionrun_stages.grading.mathematics.reading.parts import key_of, read_part
from fusionrun_stages.grading.mathematics.reading.quantity import read_expression, read_number
from fusionrun_stages.grading.mathematics.reading.regions import as_region
from fusionrun_stages.grading.mathematics.reading.several import split_top, split_words
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError
from fusionrun_stages.grading.mathematics.reading.values import (
    Equation,
    Labelled,
    Quantity,
    Region,
    Value,
    Written,
    to_sympy,
)

_RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|\\approx(?![a-z])|<=|>=|!=|<|>|=")
_SAME_RELATION = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne"}
_SYMBOL = re.compile(r"[a-zA-Z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega)")
_LABEL = re.compile(r"\([a-z](?:, ?[a-z])+\)|[a-zA-Z\\|][^<>=]{0,40}")


def read_relation(text: str, depth: int) -> Value | None:
    """Return an equation, a named value, or the set of an inequality in one variable."""
    marks = list(_RELATION.finditer(text))
    if not marks:
        return None
    joined = _regions_joined(text, depth)
    if joined is not None:
        return joined
    if len(split_top(text, ",;")) > 1 or len(split_words(text)) > 1:
        return None
    parts = [part.strip() for part in _RELATION.split(text)]
    signs = [_SAME_RELATION.get(mark[0], mark[0]) for mark in marks]
    if set(signs) <= {"<", ">", "\\le", "\\ge", "\\ne"}:
        return _inequality(parts, signs)
    if signs == ["\\in"]:
        inner = read_part(parts[1], depth + 1)
        if (region := as_region(inner)) is not None and _SYMBOL.fullmatch(parts[0]):
            return Region(region)
        raise NotReadError(text)
    if set(signs) <= {"=", "\\approx"}:
        return _equation(parts, signs, depth)
    raise NotReadError(text)


def _regions_joined(text: str, depth: int) -> Value | None:
    r"""Return the region of ``x < 1 or x > 3``; with a comma or ``and`` it must be clear which is meant."""
    import sympy

    words = re.split(r",? (or|and) |(,)", text)
    if len(words) < 3 or any(len(_RELATION.findall(part or "")) == 0 for part in words[::3]):
        return None
    if not any(mark[0] not in {"=", "\\approx", "\\in"} for mark in _RELATION.finditer(text)):
        return None
    parts = [read_part(part, depth + 1) for part in words[::3]]
    regions = [part.numbers for part in parts if isinstance(part, Region)]
    names = {match for part in words[::3] for match in re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", part)}
    if len(regions) != len(parts) or len(names) != 1:
        raise NotReadError(text)
    joins = {first or second for first, second in zip(words[1::3], words[2::3], strict=True)}
    union, common = sympy.Union(*regions), sympy.Intersection(*regions)
    if joins == {"or"} or common == sympy.S.EmptySet:
        return Region(union)
    if joins <= {"and", ","} and union == sympy.S.Reals:
        return Region(common)
    if joins == {"and"} or sum("\\ne" in part or "!=" in part for part in words[::3]) >= len(parts) - 1:
        return Region(common)
    raise NotReadError(text)


def _inequality(parts: list[str], signs: list[str]) -> Value:
    import sympy

    sides = [to_sympy(read_expression(part).value) for part in parts]
    names = [n for n, part in enumerate(parts) if _SYMBOL.fullmatch(part) and sides[n].is_Symbol]
    fixed = [side for side in sides if not side.free_symbols]
    if len(names) == 1 and len(fixed) == len(sides) - 1:
        x = sides[names[0]]
        region: Any = sympy.S.Reals
        for left, right, sign in zip(sides, sides[1:], signs, strict=False):
            region = sympy.Intersection(region, _half_line(left, right, sign, x))
        return Region(region)
    if len(signs) == 1:
        left, right = sides
        if signs[0] in {"<", "\\le"}:
            return Equation(right - left, {"<": ">", "\\le": "\\ge"}[signs[0]])
        return Equation(left - right, signs[0])
    if set(signs) <= {">", "\\ge"}:
        parts, signs = parts[::-1], [{">": "<", "\\ge": "\\le"}[sign] for sign in signs[::-1]]
    return Written("".join(f"{key_of(part)}{sign}" for part, sign in zip(parts, [*signs, ""], strict=True)))


def _half_line(left: Any, right: Any, sign: str, x: Any) -> Any:
    import sympy

    if x not in {left, right}:
        raise NotReadError("no variable")
    if right == x:
        left, right = right, left
        sign = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}.get(sign, sign)
    if not right.is_extended_real:
        raise NotReadError("not real")
    oo = sympy.oo
    match sign:
        case "<":
            return sympy.Interval.open(-oo, right)
        case ">":
            return sympy.Interval.open(right, oo)
        case "\\le":
            return sympy.Interval(-oo, right)
        case "\\ge":
            return sympy.Interval(right, oo)
        case _:
            return sympy.Complement(sympy.S.Reals, sympy.FiniteSet(right))


def _equation(parts: list[str], signs: list[str], depth: int) -> Value:
    if not parts[0]:  # it starts with the sign
        return read_part(parts[1], depth + 1) if len(parts) == 2 else _equation(parts[1:], signs[1:], depth)
    if len(parts) > 2:
        return _chain(parts, signs, depth)
    left, right = parts
    if _SYMBOL.fullmatch(right) and (number := read_number(left)) is not None:
        return Labelled(right, number)
    sides = [_expression_or_none(left), _expression_or_none(right)]
    equation = None
    if sides[0] is not None and sides[1] is not None:
        if not sides[0].symbols and not sides[1].symbols:
            return _chain(parts, signs, depth)
        equation = Equation(to_sympy(sides[0].value) - to_sympy(sides[1].value))
    if _LABEL.fullmatch(left) and (
        equation is None
        or _SYMBOL.fullmatch(left)
        or re.fullmatch(r"[a-zA-Z](?:_\{?[a-zA-Z0-9]+\}?|\([a-z, ]+\))", left)
        or _words_only(left)
    ):
        return Labelled(key_of(left), read_part(right, depth + 1), equation)
    if equation is not None:
        return equation
    raise NotReadError("an equation")


def _words_only(text: str) -> bool:
    return re.fullmatch(r"[a-zA-Z]{4,}(?: [a-zA-Z]+)*", text) is not None


def _expression_or_none(text: str) -> Quantity | None:
    try:
        return read_expression(text)
    except NotReadError:
        return None


def _chain(parts: list[str], signs: list[str], depth: int) -> Value:
    r"""Read ``x = 2 + 3 = 5`` and ``\frac{1}{3} \approx 0.33``: equal parts, of which the last exact one counts."""
    from fusionrun_stages.grading.mathematics.comparison.rules import compare

    label = ""
    first = _expression_or_none(parts[0])
    if first.symbols if first is not None else _LABEL.fullmatch(parts[0]):
        label, parts, signs = key_of(parts[0]), parts[1:], signs[1:]
    exact = parts[: signs.index("\\approx") + 1] if "\\approx" in signs else parts
    values = [read_part(part, depth + 1) for part in exact]
    if any(compare(values[0], value) is not True for value in values[1:]):
        raise NotReadError("the parts of the equation differ")
    return Labelled(label, values[-1]) if label else values[-1]
