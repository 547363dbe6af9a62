"""Compare named values and equations."""

from fusionrun_stages.grading.mathematics.comparison import numeric
from fusionrun_stages.grading.mathematics.comparison.rules import compare, rule
from fusionrun_stages.grading.mathematics.reading.values import (
    Based,
    Choice,
    Clock,
    Equation,
    Items,
    Labelled,
    Matrix,
    Quantity,
    Ratio,
    Region,
    Value,
    Words,
    Written,
)

_ALL = (Labelled, Based, Choice, Clock, Equation, Items, Matrix, Quantity, Ratio, Region, Words, Written)


@rule((Labelled,), _ALL)
def _labelled(gold: Value, answer: Value) -> bool | None:
    """Compare ``x = 5`` with ``5`` by the values, and with another name by the equations."""
    one, other = (value.equation if isinstance(value, Labelled) else value for value in (gold, answer))
    values = [value.value if isinstance(value, Labelled) else value for value in (gold, answer)]
    both = isinstance(gold, Labelled) and isinstance(answer, Labelled)
    if both and gold.label != answer.label:  # type: ignore[union-attr]
        same = _equations(one, other) if isinstance(one, Equation) and isinstance(other, Equation) else False
        return same if same is not False else (None if compare(*values) is not False else False)
    if not both and isinstance(one, Equation) and isinstance(other, Equation):
        return _equations(one, other)
    found = compare(*values)
    return None if found is False and not both and Words in map(type, values) else found


@rule((Equation,), (Equation,))
def _equations(gold: Equation, answer: Equation) -> bool | None:
    if gold.relation != answer.relation:
        return False
    same, sign = numeric.is_multiple(gold.difference, answer.difference)
    return bool(sign > 0 or gold.relation in {"=", "\\ne"}) if same is True else same


@rule((Equation,), (Quantity, Items, Region, Words, Matrix))
def _equation(_gold: Value, _answer: Value) -> bool | None:
    """Leave a doubt: the other side may be its solution."""
    return None
