"""Computations of AMPS Hard: the value of the last box.

Source: LiveBench 0.0.4, process_results/math/AMPS_Hard/utils.py. The normalisation is that of Lewkowycz et al. (2022),
"Solving Quantitative Reasoning Problems with Language Models", appendix D, without its removal of units.
"""

import re
import warnings

from fusionrun_stages.grading.live_bench.boxed import last_boxed
from fusionrun_stages.grading.live_bench.latex import parse_latex
from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_TOLERANCE = 0.001
"""Largest absolute difference of equal values."""
_REWRITES = (
    (re.compile(r"(.*?)(\$)(.*?)(\$)(.*)"), r"$\3$"),
    (re.compile(r"(\\text\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\textbf\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\overline\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\boxed\{)(.*)(\})"), r"\2"),
    (re.compile(r"(frac)([^{])(.)"), r"frac{\2}{\3}"),
    (re.compile(r"(sqrt)([^{])"), r"sqrt{\2}"),
)
"""Text in dollar signs or a command is the text alone; a fraction or root without braces gets braces."""


def grade_value(row: LiveBenchRow, text: str) -> Mark:
    """Grade an expression: SymPy simplifies the difference from the reference to less than 0.001."""
    box = last_boxed(text.replace("+C", "").replace("+ C", ""))
    if box is None:
        return Mark(0.0, "it has no boxed answer", parsed=False)
    answer = normalise(box)
    if equal(_reference(row), answer):
        return Mark(1.0)
    return Mark(0.0, f"{answer!r} is not equal to the reference")


def _reference(row: LiveBenchRow) -> str:
    value = row.fields.get("ground_truth")
    if isinstance(value, list) and value and isinstance(value[-1], str):
        return value[-1]
    if isinstance(value, list):
        raise UngradableError(f"its ground_truth is {value!r}, not a list of texts")
    return row.ground_truth


def normalise(answer: str) -> str:
    """Return the part after the last equals sign as plain LaTeX; ``100,000`` becomes ``100000``."""
    answer = answer.rpartition("=")[2]
    for pattern, replacement in _REWRITES:
        answer = pattern.sub(replacement, answer)
    answer = answer.replace("$", "")
    without_commas = answer.replace(",", "")
    return without_commas if without_commas.isdigit() else answer


def equal(reference: str, answer: str) -> bool:
    """Return whether the values differ by less than the tolerance; False if SymPy fails with one of them."""
    import sympy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            difference = parse_latex(reference) - parse_latex(answer)
            return bool(sympy.Abs(sympy.simplify(difference)) < _TOLERANCE)
        except ImportError:
            raise
        except Exception:  # noqa: BLE001 - any text may come here, and SymPy raises almost any exception
            return False
