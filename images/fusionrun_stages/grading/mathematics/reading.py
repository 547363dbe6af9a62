r"""Read a final answer: what kind of value it is, and its parts.

A text that no rule reads with certainty gives None. A gold answer must be read; an answer that is not read is unknown.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from fusionrun_stages.grading.mathematics.clean import DOTS, clean
from fusionrun_stages.grading.mathematics.expression import WORDS, NotReadError
from fusionrun_stages.grading.mathematics.quantity import (
    read_based,
    read_clock,
    read_compound,
    read_expression,
    read_number,
    read_numeral,
    read_quantity,
    read_ratio,
)
from fusionrun_stages.grading.mathematics.values import (
    Choice,
    Equation,
    Items,
    Labelled,
    Matrix,
    Quantity,
    Region,
    Value,
    Words,
    Written,
)

TEXT_MAX = 2_000
"""Longer texts are not read."""
WORDS_MAX = 12
ITEMS_MAX = 100
_DEPTH_MAX = 8

_EMPTY = frozenset({"", "nan", "null", "none", "n/a", "na", "?", "-", "--", "nil", "...", "<na>", "nat"})
"""Cells of tables without a value, as text."""
_BOX = re.compile(r"\\(?:boxed|fbox) ?\{")
_CHOICE = re.compile(r"\(([A-Ja-e])\)|([A-J])[.):]?")
_CHOICE_REST = re.compile(r"(?:\(([A-J])\)|([A-J])[.):]) ?(.+)")
_CHOICES = re.compile(r"\(?([A-F](?:(?:, ?| and |, and | )?\(?[A-F]\)?){1,5})\)?")
_CHOICE_WORDS = re.compile(r"(?:the )?(?:correct )?(?:option|choice|answer)(?: is)?:? ?", re.IGNORECASE)
_RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|\\approx(?![a-z])|<=|>=|!=|<|>|=")
_SAME_RELATION = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne"}
_JOINED = re.compile(r",? (?:and|or) |[,]? ?(?:以及|和|或|与) ?|\\cup|\\cap")
_BUILDER = re.compile(
    r"\\\{ ?([a-zA-Z]) ?((?:\\in (?:\\reals|R)(?: |(?=\||\\)))?) ?(?:\\mid(?![a-z])|\||:|\\colon) ?(.+?) ?\\\}"
)
_SYMBOL = re.compile(r"[a-zA-Z]|\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega)")
_LABEL = re.compile(r"\([a-z](?:, ?[a-z])+\)|[a-zA-Z\\|][^<>=]{0,40}")
_MATRIX = re.compile(r"\\begin ?\{([pbvBV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end ?\{\1\}", re.DOTALL)
_TEXT = re.compile(r"[^\W_](?:[\w ,.;'’()/-]|&)*[\w).'’]|[^\W_]")
_BARE_WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{2,}|[A-Z][a-z]{1,2}|no|is|or")
"""A word, and no product: ``listen`` is not ``silent``. Two small letters, as ``xy``, stay a product."""
_CIRCLED = re.compile(r"(?:[①-⑳][, ]*)+")
_EMPTY_SET = re.compile(r"\\emptyset|\\\{ ?\\\}")


def read(text: str) -> Value | None:
    """Return the value of an answer, or None if no rule reads it with certainty."""
    if len(text) > TEXT_MAX:
        return None
    content = clean(_unboxed(text))
    if content.lower() in _EMPTY:
        return None
    try:
        return read_clean(content, 0)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (SymPy raises many kinds; such a text is not read)
        return None


def _unboxed(text: str) -> str:
    from fusionrun_stages.grading.mathematics.clean import closing

    found = None
    for found in _BOX.finditer(text):
        pass
    if found is None:
        return text
    end = closing(text, found.end() - 1)
    return text[found.end() : end] if end > 0 else text


def read_clean(text: str, depth: int) -> Value:
    """Read a text after ``clean``; raise NotReadError."""
    if depth > _DEPTH_MAX:
        raise NotReadError(text)
    text = text.strip()
    if (number := read_number(text)) is not None:
        return number
    if DOTS.strip() in text or _CIRCLED.fullmatch(text):
        return Written(re.sub(",$", "", _key(text)))
    for reader in _READERS:
        value: Value | None = reader(text, depth)
        if value is not None:
            return value
    raise NotReadError(text)


def _key(text: str) -> str:
    return re.sub(r"[ {}]", "", text)


def _read_choice(text: str, _depth: int) -> Value | None:
    words = _CHOICE_WORDS.match(text)
    rest = text[words.end() :] if words else text
    if (found := _CHOICE.fullmatch(rest)) is not None:
        return Choice((found[1] or found[2]).upper())
    if (found := _CHOICES.fullmatch(rest)) is not None:
        letters = re.findall("[A-F]", found[1])
        if letters == sorted(set(letters)):
            return Choice("".join(letters))
    if (found := _CHOICE_REST.fullmatch(rest)) is not None:
        try:
            return Choice(found[1] or found[2], read_clean(found[3], _DEPTH_MAX - 1))
        except NotReadError:
            return Choice(found[1] or found[2])
    return None


def _read_time_or_base(text: str, _depth: int) -> Value | None:
    value: Value | None = read_clock(text) or read_based(text) or read_compound(text)
    if value is None and ":" in text and not text.startswith("\\{"):
        value = read_ratio(text)
    return value


def _read_matrix(text: str, depth: int) -> Value | None:
    found = _MATRIX.fullmatch(text)
    if found is None:
        return None
    if found[1] in {"vmatrix", "Vmatrix"} or "\\begin" in found[2]:
        raise NotReadError(text)
    rows = [row for row in re.split(r"\\cr(?![a-z])", found[2]) if row.strip(" \\") not in {"", "hline"}]
    return Matrix(tuple(tuple(read_clean(cell, depth + 1) for cell in row.split("&")) for row in rows))


def split_top(text: str, separators: str) -> list[str]:
    """Split at separators outside brackets; raise NotReadError for brackets that do not match."""
    parts, begin, depth, index = [], 0, 0, 0
    while index < len(text):
        character = text[index]
        if character == "\\":
            command = re.compile(r"\\(?:[a-zA-Z]+|.)?").match(text, index)
            name = command[0] if command else "\\"
            depth += (name in {"\\{", "\\langle", "\\begin"}) - (name in {"\\}", "\\rangle", "\\end"})
            index += len(name)
            continue
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            raise NotReadError(text)
        if depth == 0 and character in separators:
            parts.append(text[begin:index])
            begin = index + 1
        index += 1
    if depth:
        raise NotReadError(text)
    return [*parts, text[begin:]]


def _read_list(text: str, depth: int) -> Value | None:
    for separators in (";", ","):
        parts = [part.strip() for part in split_top(text, separators)]
        parts = [re.sub(r"^(?:and|or) ", "", part) for part in parts if part]
        if len(parts) > 1:
            if any(_is_plain_text(part) and part.count(" ") > 1 for part in parts):
                return None  # a sentence
            return _items(parts, depth, ";" if separators == ";" else "")
    parts = [part for part in _split_words(text) if part]
    if len(parts) > 1:
        if any(_is_plain_text(part) for part in parts):
            return None
        return _items(parts, depth, "")
    return None


def _split_words(text: str) -> list[str]:
    """Split at ``and`` and ``or`` outside brackets."""
    pieces, begin = [], 0
    for found in _JOINED.finditer(text):
        if found[0].startswith("\\"):
            continue
        before = text[: found.start()]
        if all(before.count(a) == before.count(b) for a, b in ("()", "[]", "{}")):
            pieces.append(text[begin : found.start()].strip())
            begin = found.end()
    return [*pieces, text[begin:].strip()]


def _is_plain_text(text: str) -> bool:
    return re.fullmatch(r"[^\W\d_]{3,}(?: [^\W\d_]+)*", text) is not None


def _items(parts: list[str], depth: int, brackets: str) -> Value:
    if len(parts) > ITEMS_MAX:
        raise NotReadError(f"{len(parts)} values")
    values = [_spread(read_clean(part, depth + 1)) for part in parts]
    flat = tuple(value for group in values for value in group)
    if any(isinstance(value, Region) for value in flat):
        raise NotReadError("a list with a region")
    if flat and all(isinstance(value, Words) for value in flat) and brackets == "":
        return Items(flat, "")
    return Items(flat, brackets)


def _spread(value: Value) -> tuple[Value, ...]:
    r"""Return the two values of ``\pm 2`` in a list."""
    if isinstance(value, Items) and value.brackets == "":
        return value.items
    return (value,)


def _read_signs(text: str, depth: int) -> Value | None:
    if "\\pm" not in text and "\\mp" not in text:
        return None
    upper = text.replace("\\pm", "+").replace("\\mp", "-")
    lower = text.replace("\\pm", "-").replace("\\mp", "+")
    if text.count("\\pm") + text.count("\\mp") > 1 and "," not in text:
        raise NotReadError("two signs")
    if len(split_top(text, ",;")) > 1:
        return None
    values = (read_clean(upper.strip(), depth + 1), read_clean(lower.strip(), depth + 1))
    return Items(values, "")


def _read_brackets(text: str, depth: int) -> Value | None:
    opening = next((o for o in ("\\{", "\\langle", "(", "[") if text.startswith(o)), None)
    ending = next((e for e in ("\\}", "\\rangle", ")", "]") if text.endswith(e)), None)
    if opening is None or ending is None:
        return None
    inside = text[len(opening) : -len(ending)]
    try:
        parts = [part.strip() for part in split_top(inside, ",;")]
    except NotReadError:
        return None
    brackets = {"\\{\\}": "{}", "\\langle\\rangle": "()"}.get(opening + ending, opening + ending)
    if len(parts) == 1 and brackets != "{}":
        return None
    if any(not part for part in parts) or brackets not in {"{}", "()", "[]", "(]", "[)"}:
        raise NotReadError(text)
    values = tuple(
        value
        for part in parts
        for value in (_spread(read_clean(part, depth + 1)) if brackets == "{}" else (read_clean(part, depth + 1),))
    )
    return Items(values, brackets)


def _read_builder(text: str, depth: int) -> Value | None:
    found = _BUILDER.fullmatch(text)
    if found is None:
        return None
    inner = read_clean(found[3], depth + 1)
    if not isinstance(inner, Region):
        raise NotReadError(text)
    return inner


def _read_region(text: str, depth: int) -> Value | None:
    import sympy

    if _EMPTY_SET.fullmatch(text):
        return Region(sympy.S.EmptySet)
    if text.strip() in {"\\reals", "R"} and "\\" in text:
        return Region(sympy.S.Reals)
    for mark, join in (("\\cup", sympy.Union), ("\\cap", sympy.Intersection)):
        if mark in text:
            parts = [as_region(read_clean(part, depth + 1)) for part in text.split(mark)]
            if None in parts:
                raise NotReadError(text)
            return Region(join(*parts))
    if (found := re.fullmatch(r"\\reals ?(?:\\setminus|\\backslash|-) ?(\\\{.*\\\})", text)) is not None:
        removed = as_region(read_clean(found[1], depth + 1))
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
    ends = [sympy.Rational(n.numerator, n.denominator) if isinstance(n, Fraction) else n for n in numbers]
    if not all(end.is_extended_real for end in ends):
        return None
    if value.brackets == "{}":
        return sympy.FiniteSet(*ends)
    if len(ends) != 2 or not ends[0] < ends[1]:
        return None
    return sympy.Interval(*ends, left_open=value.brackets[0] == "(", right_open=value.brackets[1] == ")")


def _read_relation(text: str, depth: int) -> Value | None:
    marks = [found for found in _RELATION.finditer(text)]
    if not marks:
        return None
    joined = _regions_joined(text, depth)
    if joined is not None:
        return joined
    if len(split_top(text, ",;")) > 1 or len(_split_words(text)) > 1:
        return None
    parts = [part.strip() for part in _RELATION.split(text)]
    signs = [_SAME_RELATION.get(mark[0], mark[0]) for mark in marks]
    if set(signs) <= {"<", ">", "\\le", "\\ge", "\\ne"}:
        return _inequality(parts, signs, depth)
    if signs == ["\\in"]:
        inner = read_clean(parts[1], depth + 1)
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
    parts = [read_clean(part, depth + 1) for part in words[::3]]
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


def _inequality(parts: list[str], signs: list[str], depth: int) -> Value:
    import sympy

    sides = [_sympy(read_expression(part)) for part in parts]
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
    return Written("".join(f"{_key(part)}{sign}" for part, sign in zip(parts, [*signs, ""], strict=True)))


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
    return sympy.Complement(sympy.S.Reals, sympy.FiniteSet(right))


def _sympy(quantity: Quantity) -> Any:
    import sympy

    value = quantity.value
    return sympy.Rational(value.numerator, value.denominator) if isinstance(value, Fraction) else value


def _equation(parts: list[str], signs: list[str], depth: int) -> Value:
    if not parts[0]:  # it starts with the sign
        return read_clean(parts[1], depth + 1) if len(parts) == 2 else _equation(parts[1:], signs[1:], depth)
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
        equation = Equation(_sympy(sides[0]) - _sympy(sides[1]))
    if _LABEL.fullmatch(left) and (
        equation is None
        or _SYMBOL.fullmatch(left)
        or re.fullmatch(r"[a-zA-Z](?:_\{?[a-zA-Z0-9]+\}?|\([a-z, ]+\))", left)
        or _words_only(left)
    ):
        return Labelled(_key(left), read_clean(right, depth + 1), equation)
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
    r"""Read ``x = 2 + 3 = 5`` and ``\frac{1}{3} \approx 0.33``: the parts must be equal, and the last exact one counts."""
    from fusionrun_stages.grading.mathematics.comparison import compare

    label = ""
    first = _expression_or_none(parts[0])
    if first.symbols if first is not None else _LABEL.fullmatch(parts[0]):
        label, parts, signs = _key(parts[0]), parts[1:], signs[1:]
    exact = parts[: signs.index("\\approx") + 1] if "\\approx" in signs else parts
    values = [read_clean(part, depth + 1) for part in exact]
    if any(compare(values[0], value) is not True for value in values[1:]):
        raise NotReadError("the parts of the equation differ")
    return Labelled(label, values[-1]) if label else values[-1]


def _read_formula(text: str, _depth: int) -> Value | None:
    if _BARE_WORD.fullmatch(text) and text.lower() not in WORDS:
        return read_numeral(text)
    try:
        return read_quantity(text)
    except NotReadError:
        return None


def _read_words(text: str, _depth: int) -> Value | None:
    if not _TEXT.fullmatch(text) or len(text.split()) > WORDS_MAX:
        return None
    letters = [word for word in re.findall(r"[^\W\d_]+", text)]
    if not any(len(word) > 1 for word in letters) and not (len(letters) == 1 and text.isalpha()):
        return None
    if (
        (not text.isascii()
        and any("\u4e00" <= c <= "\u9fff" for c in text))
        or sum(map(len, letters)) * 2 > len(text.replace(" ", ""))
    ):
        return Words(normalise(text))
    return None


def normalise(text: str) -> str:
    """Return the words in lower case, without punctuation and articles."""
    words = re.findall(r"[\w]+", text.casefold().replace("'", "").replace("’", ""))
    return " ".join(word for word in words if word not in {"the", "a", "an"}) or " ".join(words)


_READERS: tuple[Callable[[str, int], Value | None], ...] = (
    _read_choice,
    _read_time_or_base,
    _read_matrix,
    _read_signs,
    _read_builder,
    _read_brackets,
    _read_region,
    _read_relation,
    _read_list,
    _read_formula,
    _read_words,
)
