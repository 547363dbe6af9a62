"""Compare lists, tuples, sets, matrices and sets of real numbers."""

from collections.abc import Iterable, Sequence

from fusionrun_stages.grading.mathematics.comparison.rules import compare, rule
from fusionrun_stages.grading.mathematics.reading.regions import as_region
from fusionrun_stages.grading.mathematics.reading.values import Items, Labelled, Matrix, Quantity, Region, Value, Words

_MATCHED_MAX = 20
"""Values of a list in any order: each is compared with each."""
_COORDINATES = frozenset({"xy", "xyz", "ab", "abc", "mn", "pq"})


@rule((Items,), (Items,))
def _items(gold: Items, answer: Items) -> bool | None:
    """Compare several values; the brackets say whether the order counts."""
    both = {gold.brackets, answer.brackets}
    if len(gold.items) != len(answer.items):
        return _sizes(gold, answer)
    if (pairs := _by_label(gold, answer) or _coordinates(gold, answer)) is not None:
        return all_of(compare(a, b) for a, b in pairs)
    ordered = all_of(compare(a, b) for a, b in zip(gold.items, answer.items, strict=True))
    if _has_names(gold) != _has_names(answer) or both in ({";"}, {"", ";"}):
        return ordered if ordered is not False else _doubt_or_wrong(gold, answer)
    if both <= {"", "{}"}:
        return True if ordered is True else _unordered(gold.items, answer.items)
    if len(both) == 1:
        return ordered
    return _in_other_brackets(gold, answer, ordered)


def _in_other_brackets(gold: Items, answer: Items, ordered: bool | None) -> bool | None:  # noqa: FBT001 (three values)
    if {gold.brackets, answer.brackets} & {"", ";", "{}"}:  # a list against a tuple or an interval
        return _doubt_or_wrong(gold, answer)
    square = {gold.brackets, answer.brackets} == {"()", "[]"}
    return None if square and ordered is True and len(gold.items) > 2 else False


def _has_names(several: Items) -> bool:
    """Return whether the values have different names: their order counts then."""
    return len({item.label for item in several.items if isinstance(item, Labelled)}) > 1


def _doubt_or_wrong(gold: Items, answer: Items) -> bool | None:
    return None if _unordered(gold.items, answer.items) is not False else False


def _by_label(gold: Items, answer: Items) -> list[tuple[Value, Value]] | None:
    """Pair the values of ``x = 2, y = 3`` by their names, if both sides have the same."""
    named = [{item.label: item.value for item in side.items if isinstance(item, Labelled)} for side in (gold, answer)]
    if named[0].keys() != named[1].keys() or len(named[0]) != len(gold.items):
        return None
    return [(value, named[1][label]) for label, value in named[0].items()]


def _coordinates(gold: Items, answer: Items) -> list[tuple[Value, Value]] | None:
    """Pair the values of ``(1, 2)`` with those of ``x = 1, y = 2``, if the names are in the order of the alphabet."""
    named, plain = (gold, answer) if gold.brackets in {"", ";"} else (answer, gold)
    labels = {item.label: item.value for item in named.items if isinstance(item, Labelled)}
    if plain.brackets != "()" or len(labels) != len(named.items) or "".join(sorted(labels)) not in _COORDINATES:
        return None
    pairs = list(zip((labels[name] for name in sorted(labels)), plain.items, strict=True))
    return pairs if named is gold else [(b, a) for a, b in pairs]


def _sizes(gold: Items, answer: Items) -> bool | None:
    """Compare lists of different lengths: they differ, unless values are repeated."""
    if {gold.brackets, answer.brackets} <= {"", "{}"}:
        inside = all(any(compare(a, b) is not False for b in answer.items) for a in gold.items[:_MATCHED_MAX])
        back = all(any(compare(a, b) is not False for a in gold.items) for b in answer.items[:_MATCHED_MAX])
        return None if inside and back else False
    return False


def all_of(found: Iterable[bool | None]) -> bool | None:
    """Return False if one is wrong, else None if one is a doubt."""
    results = list(found)
    if False in results:
        return False
    return None if None in results else True


def _unordered(gold: Sequence[Value], answer: Sequence[Value]) -> bool | None:
    """Match each value with one of the other side."""
    if len(gold) > _MATCHED_MAX:
        return None
    left = list(answer)
    doubt = False
    for value in gold:
        found = [compare(value, other) for other in left]
        if True in found:
            del left[found.index(True)]
        elif None in found:
            doubt = True
        else:
            return False
    return None if doubt else True


@rule((Items,), (Quantity,))
def _one_of_several(gold: Value, answer: Value) -> bool | None:
    """Compare one value with several: only a set of one value can be that value."""
    several, one = (gold, answer) if isinstance(gold, Items) else (answer, gold)
    assert isinstance(several, Items)
    if len(several.items) == 1:
        return compare(several.items[0], one)
    doubtful = any(isinstance(item, Words) for item in several.items)
    return None if doubtful or all(compare(item, one) is True for item in several.items) else False


@rule((Region,), (Region, Items, Quantity))
def _regions(gold: Value, answer: Value) -> bool | None:
    import sympy

    a, b = as_region(gold), as_region(answer)
    if a is None or b is None:
        return False
    return bool(a == b or sympy.SymmetricDifference(a, b) == sympy.S.EmptySet)


@rule((Matrix,), (Matrix,))
def _matrices(gold: Matrix, answer: Matrix) -> bool | None:
    if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
        return False
    pairs = [(a, b) for rows in zip(gold.rows, answer.rows, strict=True) for a, b in zip(*rows, strict=True)]
    return all_of(compare(a, b) for a, b in pairs)


@rule((Matrix,), (Items,))
def _vector(_gold: Value, _answer: Value) -> bool | None:
    """Leave a doubt: a column may stand for a point."""
    return None
