"""Types of columns, and joins of tables.

Source: LiveBench 0.0.4, process_results/data_analysis/{cta,tablejoin}/utils.py.
"""

import ast
import re
import warnings
from typing import Any

from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
_WHOLE = 100
"""The score of a join is rounded to this part."""


def grade_column_type(row: LiveBenchRow, text: str) -> Mark:
    """Grade the type of a column: the whole response is the type, but for case and all but word characters."""
    if _word_characters(text) == _word_characters(row.ground_truth):
        return Mark(1.0)
    return Mark(0.0, f"it is not {row.ground_truth!r}", parsed=bool(_word_characters(text)))


def _word_characters(text: str) -> str:
    return re.sub(r"\W", "", text.lower().strip())


def grade_join(row: LiveBenchRow, text: str) -> Mark:
    """Grade a mapping of columns: the F1 of its pairs, rounded to 0.01.

    A pair with another value than the reference's is both a false positive and a false negative.
    """
    expected = _reference(row)
    found = _mapping(text)
    if not found:
        return Mark(0.0, "it has no dictionary", parsed=False)
    right = sum(1 for column, other in found.items() if expected.get(column) and expected[column] == other)
    wrong = len(found) - right
    missing = sum(1 for column, other in found.items() if expected.get(column) and expected[column] != other)
    missing += sum(1 for column in expected if not found.get(column))
    # numpy's round, which LiveBench uses, is round half to even of a hundred times the value.
    score = round(2 * right / (2 * right + wrong + missing) * _WHOLE) / _WHOLE
    return Mark(score, f"{right} right, {wrong} wrong and {missing} missing" if wrong or missing else "")


def _reference(row: LiveBenchRow) -> dict[Any, Any]:
    value = row.fields.get("ground_truth")
    if not isinstance(value, dict):
        value = _literal(row.ground_truth)
    if not isinstance(value, dict):
        raise UngradableError(f"its ground_truth {row.ground_truth[:80]!r} is not a dictionary")
    return value


def _mapping(text: str) -> dict[Any, Any]:
    """Return the dictionary between the first fence of Python, otherwise the first fence, and the last one."""
    text = text.replace("\n", "")
    fenced = re.findall("```python(.*)```", text) or re.findall("```(.*)```", text) or [text]
    value = _literal(fenced[-1])
    return value if isinstance(value, dict) else {}


def _literal(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes
        try:
            return ast.literal_eval(text)
        except _LITERAL_ERRORS:
            return None
