"""Compare a final answer with the gold answer, both in their normal form.

Source: ``math_equal`` in ``evaluation/grader.py`` of QwenLM/Qwen2.5-Math (MIT), which is based on the graders of
hendrycks/math, openai/prm800k, microsoft/ToRA and DeepSeek-Math.
"""

import re
from itertools import starmap
from math import isclose

from fusionrun_stages.grading.qwen_mathematics.symbolic import same_value

RELATIVE_TOLERANCE = 1e-4

_CHOICES = ("A", "B", "C", "D", "E")
_CHOICE = re.compile(r"\b[ABCDE]\b")
_BRACKETS = re.compile(r"[(\[].+[)\]]")
_BRACES_LIST = re.compile(r"\{.*,.*\}")
_GROUPING = str.maketrans("", "", "{}()")
_MATRIX_BEGIN = (r"\begin{pmatrix}", r"\begin{bmatrix}")
_MATRIX_END = (r"\end{pmatrix}", r"\end{bmatrix}")
_NAME_MAX = 2
"""Maximum length of the left side of an equation that only names the answer, such as ``k =``."""


def is_equal(said: str, gold: str) -> bool:
    """Return whether an answer is the gold answer. The rules are tried from the cheapest to the dearest."""
    if said.strip().lower() == gold.strip().lower() or (gold in _CHOICES and _last_choice(said) == gold):
        return True
    numbers = (_number(said), _number(gold))
    if numbers[0] is not None and numbers[1] is not None:
        return _close(numbers[0], numbers[1])
    if not said:
        return False
    said, gold = said.strip(), gold.strip()
    if "pmatrix" in said and "pmatrix" not in gold:
        gold = _matrices(gold)
    return (
        _ungrouped(said, gold)
        or _same_elements(said, gold)
        or _same_matrix(said, gold)
        or _same_equation(said, gold)
        or same_value(said, gold, RELATIVE_TOLERANCE)
    )


def _last_choice(text: str) -> str:
    text = text.strip("\n").rstrip(".").rstrip("/").strip(" ").lstrip(":")
    letters = _CHOICE.findall(text.upper())
    return (letters[-1] if letters else text.strip().strip(".")).rstrip(".").rstrip("/")


def _number(text: str) -> float | None:
    """Return the value of a number with commas or a percent sign."""
    text = text.replace(",", "")
    scale = 1.0
    if text.endswith("%"):
        text, scale = text.removesuffix("%").removesuffix("\\"), 100.0
    try:
        return float(text) / scale
    except ValueError:
        return None


def _close(said: float, gold: float) -> bool:
    """Return whether two numbers are close. A percentage may be meant, so a factor of 100 either way is allowed."""
    return any(isclose(meant, said, rel_tol=RELATIVE_TOLERANCE) for meant in (gold / 100, gold, gold * 100))


def _matrices(gold: str) -> str:
    """Write lists in braces as matrices of one column."""
    rows = (found.strip("{}").replace(",", "\\") for found in _BRACES_LIST.findall(gold))
    return ", ".join(rf"\begin{{pmatrix}}{row}\end{{pmatrix}}" for row in rows)


def _ungrouped(said: str, gold: str) -> bool:
    """Return whether two texts are the same without grouping and, unless the kinds of brackets differ, brackets."""
    in_square = said.startswith("[") and said.endswith("]") and not gold.startswith("(")
    in_round = said.startswith("(") and said.endswith(")") and not gold.startswith("[")
    if in_square or in_round:
        said, gold = said.strip("[]()"), gold.strip("[]()")
    return said.translate(_GROUPING).lower() == gold.translate(_GROUPING).lower()


def _all_equal(said: list[str], gold: list[str]) -> bool:
    return len(said) == len(gold) and all(starmap(is_equal, zip(said, gold, strict=True)))


def _same_elements(said: str, gold: str) -> bool:
    r"""Compare two lists in brackets element by element. The kinds of the brackets do not count: (1,2] equals [1,2)."""
    if _BRACKETS.match(said) is None or _BRACKETS.match(gold) is None:
        return False
    return _all_equal(said[1:-1].split(","), gold[1:-1].split(","))


def _same_matrix(said: str, gold: str) -> bool:
    if not all(text.startswith(_MATRIX_BEGIN) and text.endswith(_MATRIX_END) for text in (said, gold)):
        return False
    said_rows, gold_rows = _rows(said), _rows(gold)
    return len(said_rows) == len(gold_rows) and all(starmap(_all_equal, zip(said_rows, gold_rows, strict=True)))


def _rows(matrix: str) -> list[list[str]]:
    inner = matrix[len(_MATRIX_BEGIN[0]) : -len(_MATRIX_END[0])]
    return [line.strip().split("&") for line in inner.split("\\\\") if line.strip()]


def _same_equation(said: str, gold: str) -> bool:
    """Compare two equations as left side minus right side, or the value of one that only names it."""
    equations = (said.count("="), gold.count("="))
    if equations == (1, 1):
        difference, gold_difference = _difference(said), _difference(gold)
        return same_value(difference, gold_difference, RELATIVE_TOLERANCE) or same_value(
            f"-({difference})", gold_difference, RELATIVE_TOLERANCE
        )
    if equations == (1, 0) and _names_value(said):
        return is_equal(said.partition("=")[2], gold)
    if equations == (0, 1) and _names_value(gold):
        return is_equal(said, gold.partition("=")[2])
    return False


def _difference(equation: str) -> str:
    left, _, right = equation.partition("=")
    return f"{left.strip()} - ({right.strip()})"


def _names_value(equation: str) -> bool:
    return len(equation.partition("=")[0].strip()) <= _NAME_MAX
