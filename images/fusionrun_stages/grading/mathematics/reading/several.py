"""Read several values: lists, blanks, tuples, sets, matrices and both signs."""

import re

from fusionrun_stages.grading.mathematics.reading.parts import read_part
from fusionrun_stages.grading.mathematics.reading.tokens import NotReadError
from fusionrun_stages.grading.mathematics.reading.values import Items, Matrix, Region, Value, Words

ITEMS_MAX = 100
_JOINED = re.compile(r",? (?:and|or) |[,]? ?(?:以及|和|或|与) ?|\\cup|\\cap")
_MATRIX = re.compile(
    r"[\[(]? ?\\begin ?\{([pbvBV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end ?\{\1\} ?[\])]?", re.DOTALL
)


def read_matrix(text: str, depth: int) -> Value | None:
    """Return the rows of a matrix."""
    found = _MATRIX.fullmatch(text)
    if found is None:
        return None
    if found[1] in {"vmatrix", "Vmatrix"} or "\\begin" in found[2]:
        raise NotReadError(text)
    rows = [row for row in re.split(r"\\cr(?![a-z])", found[2]) if row.strip(" \\") not in {"", "hline"}]
    return Matrix(tuple(tuple(read_part(cell, depth + 1) for cell in row.split("&")) for row in rows))


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


def read_list(text: str, depth: int) -> Value | None:
    """Return the values that semicolons, commas, ``and`` or ``or`` join."""
    for separators in (";", ","):
        parts = [part.strip() for part in split_top(text, separators)]
        parts = [re.sub(r"^(?:and|or) ", "", part) for part in parts if part]
        if len(parts) > 1:
            if any(_is_plain_text(part) and part.count(" ") > 1 for part in parts):
                return None  # a sentence
            return _items(parts, depth, ";" if separators == ";" else "")
    parts = [part for part in split_words(text) if part]
    if len(parts) > 1:
        if any(_is_plain_text(part) for part in parts):
            return None
        return _items(parts, depth, "")
    return None


def split_words(text: str) -> list[str]:
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
    values = [_spread(read_part(part, depth + 1)) for part in parts]
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


def read_signs(text: str, depth: int) -> Value | None:
    """Return both values of a text with a sign of plus or minus."""
    if "\\pm" not in text and "\\mp" not in text:
        return None
    upper = text.replace("\\pm", "+").replace("\\mp", "-")
    lower = text.replace("\\pm", "-").replace("\\mp", "+")
    if text.count("\\pm") + text.count("\\mp") > 1 and "," not in text:
        raise NotReadError("two signs")
    if len(split_top(text, ",;")) > 1:
        return None
    values = (read_part(upper.strip(), depth + 1), read_part(lower.strip(), depth + 1))
    return Items(values, "")


def read_brackets(text: str, depth: int) -> Value | None:
    """Return a tuple, an interval or a set in brackets."""
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
        for value in (_spread(read_part(part, depth + 1)) if brackets == "{}" else (read_part(part, depth + 1),))
    )
    return Items(values, brackets)
