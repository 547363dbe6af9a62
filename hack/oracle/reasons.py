"""Why two graders disagree with this project's on a kind of pair, and the document that lists all disagreements."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "tests/stages/grading/oracle_verdicts.jsonl"
DOCUMENT = ROOT / "docs/mathematics-graders.md"


class Row(NamedTuple):
    """A pair and the verdicts of the three graders."""

    kind: str
    gold: str
    answer: str
    made: str
    ours: str
    math_verify: str
    qwen: str


class Disagreement(NamedTuple):
    """A kind of pair, the other grader's verdict, and ours."""

    kind: str
    theirs: str
    ours: str


REASONS: dict[tuple[str, str, str], str] = {
    ("thousands", "wrong", "right"): "a thin space or a space parts the groups of one number; math-verify reads the first group",
    ("thousands", "right", "wrong"): "the Qwen grader allows a relative error of 0.0001, also for integers",
    ("decimal", "wrong", "unknown"): "the answer has one digit more and rounds to the gold answer, which may be rounded",
    ("decimal", "right", "unknown"): "the same; the Qwen grader allows a relative error of 0.0001",
    ("rounded decimal", "wrong", "unknown"): "the answer is the fraction rounded to few digits: the question may ask for that",
    ("rounded decimal", "right", "unknown"): "the same; the Qwen grader allows a relative error of 0.0001",
    ("rounded decimal", "right", "wrong"): "the last digit is cut off, not rounded; the Qwen grader allows an error of 0.0001",
    ("tiny number", "wrong", "right"): "E-notation is the same number; the others read e as a letter or compare texts",
    ("tiny number", "right", "wrong"): "math-verify rounds both to six places, so both are 0",
    ("tiny power", "right", "wrong"): "math-verify rounds both to six places, so both are 0",
    ("E-notation", "wrong", "right"): "the others read e as a letter, or cannot read the gold answer",
    ("E-notation", "right", "wrong"): "the others read e as a letter, or allow an error",
    ("float cell", "wrong", "right"): "math-verify reads 5e-05 as 5·e − 5",
    ("float cell", "right", "wrong"): "the others read e as a letter, or allow an absolute error",
    ("repeating decimal", "wrong", "right"): "the others drop the bar or the dot over the repeated digits",
    ("repeating decimal", "right", "wrong"): "the others drop the repeated digits: 2 is not 2.111…",
    ("repeating decimal", "wrong", "unknown"): "the answer may be rounded to the digits that it has",
    ("complex number", "wrong", "right"): "the others do not read a blank before i, or an upright i",
    ("upright i", "wrong", "right"): "the others do not read an upright i",
    ("upright i", "right", "wrong"): "the others drop an upright i, and the real part is left",
    ("mixed number", "wrong", "right"): "the others read the whole number only, or the two numbers as a product",
    ("mixed number", "right", "wrong"): "the others read the whole number only, or a product",
    ("mixed number in LaTeX", "wrong", "right"): "the others do not read a mixed number without LaTeX; the Qwen grader reads a product",
    ("mixed number in LaTeX", "right", "wrong"): "the Qwen grader reads a mixed number as a product",
    ("percent", "wrong", "right"): "the fraction is the same share; the Qwen grader tries it for decimals only",
    ("hundredfold", "right", "wrong"): "the Qwen grader takes a hundredth and a hundredfold of any number for a percentage",
    ("money", "wrong", "right"): "math-verify takes an escaped dollar sign for the border of a formula",
    ("money", "right", "wrong"): "a part of the amount is read as the whole",
    ("unit", "wrong", "right"): "78 cm are 780 mm: units of one dimension are converted; the Qwen grader keeps some units in the text",
    ("unit", "right", "wrong"): "78 cm are not 78 m: the others drop every unit",
    ("unit", "wrong", "unknown"): "the number has no unit, and in millimetres it would be right",
    ("unit in the answer", "wrong", "right"): "the Qwen grader keeps some units in the text",
    ("Chinese unit", "wrong", "right"): "the others do not read a unit that follows without a command",
    ("degrees", "wrong", "right"): "the others do not know the character of degrees",
    ("clock", "wrong", "right"): "math-verify finds no formula in the text",
    ("clock", "right", "wrong"): "the hour is no time of day with minutes",
    ("duration", "wrong", "right"): "the others do not add hours and minutes",
    ("duration", "right", "wrong"): "the others read the first number only",
    ("ratio", "wrong", "right"): "the ratio is the same after cancelling",
    ("ratio", "right", "wrong"): "the terms are exchanged or differ",
    ("number base", "wrong", "right"): "the base is written as a word",
    ("number base", "right", "wrong"): "the others ignore or misread the base",
    ("dots", "wrong", "right"): "both spellings of the dots are the same sequence",
    ("dots", "wrong", "unknown"): "a sequence with dots is only compared as it is written",
    ("dots", "right", "unknown"): "the others read one term of the sequence, or drop the dots",
    ("interval", "wrong", "right"): "an interval and an inequality are the same set",
    ("interval", "right", "wrong"): "the ends of the interval differ; the Qwen grader ignores the kind of bracket",
    ("inequality", "wrong", "right"): "an interval and an inequality, or its other spelling, are the same set",
    ("inequality", "right", "wrong"): "the Qwen grader compares the two sides and ignores the relation",
    ("union", "wrong", "right"): "a union of intervals and two inequalities are the same set",
    ("union", "right", "wrong"): "the Qwen grader ignores the kind of bracket",
    ("set-builder", "wrong", "right"): "the others do not read set-builder notation",
    ("set-builder", "right", "wrong"): "the others ignore the kind of bracket or relation",
    ("list", "wrong", "right"): "a list joined by commas has no order; the Qwen grader compares texts or pairs in order",
    ("list", "right", "wrong"): "the Qwen grader's parser stops at the comma",
    ("blanks", "wrong", "right"): "the others do not read several blanks joined by semicolons",
    ("blanks", "right", "wrong"): "math-verify takes the last blank for the gold answer",
    ("pair", "wrong", "right"): "the named coordinates are those of the pair",
    ("pair", "right", "wrong"): "square brackets make it an interval or a list, not the point",
    ("triple", "wrong", "right"): "angle brackets are another notation of a tuple",
    ("triple", "right", "wrong"): "the order or the number of the coordinates differs",
    ("plus-minus", "wrong", "right"): "the two values are listed; the Qwen grader does not expand the sign",
    ("plus-minus", "right", "wrong"): "one of two values is missing",
    ("root", "wrong", "right"): "the roots are equal; the other grader's parser cannot read one of them",
    ("root", "right", "wrong"): "the other grader misreads the root",
    ("polynomial", "wrong", "right"): "the Qwen grader removes brackets before it compares, or takes x( for a function",
    ("parameter", "wrong", "right"): "the Qwen grader takes n( for a function",
    ("parameter", "right", "wrong"): "the Qwen grader takes n( for a function",
    ("line", "wrong", "right"): "the Qwen grader does not compare equations with the terms on other sides in all cases",
    ("line", "right", "wrong"): "the equations are not multiples of each other",
    ("system", "wrong", "right"): "the named values are the same; the Qwen grader compares texts",
    ("system", "right", "wrong"): "the Qwen grader's parser stops at the comma: only the first value is compared",
    ("matrix", "wrong", "right"): "the matrices are equal, in other brackets",
    ("matrix", "right", "wrong"): "the matrices differ in one place",
    ("yes or no", "wrong", "right"): "math-verify does not compare words, apart from equal texts",
    ("yes or no", "right", "wrong"): "the words are opposites",
    ("name", "wrong", "right"): "math-verify does not compare words, apart from equal texts",
    ("letters", "wrong", "right"): "math-verify does not compare words, apart from equal texts",
    ("letters", "right", "wrong"): "the others take the word for a product of letters, which has no order",
    ("choice", "wrong", "right"): "the Qwen grader keeps the command of a bold letter in the text",
    ("no solution", "wrong", "right"): "the empty set and these words are the same answer",
    ("million", "wrong", "right"): "the others do not read number words",
    ("million", "right", "wrong"): "the others drop the number word",
}  # fmt: skip

_HEAD = """# How three graders judge mathematics

`hack/oracles --repo FOLDER` invents pairs of a gold answer and an answer, in other forms of the same value (`same`) and as near
misses (`other`), and judges each by this project's grader, by math-verify {version} with its defaults, and by the grader of
github.com/QwenLM/Qwen2.5-Math. The pairs and the verdicts are in `tests/stages/grading/oracle_verdicts.jsonl`. This page is
written by `hack/oracles`; [data.md](data.md#verdicts-on-mathematics) has the rules of this project's grader.

"""


def read_rows(path: Path = VERDICTS) -> list[Row]:
    """Read the committed pairs and verdicts."""
    return [Row(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def disagreements(rows: Iterable[Row]) -> dict[Disagreement, Counter[str]]:
    """Count the pairs on which another grader's verdict differs from ours, per grader."""
    found: dict[Disagreement, Counter[str]] = {}
    for row in rows:
        for name, theirs in (("math-verify", row.math_verify), ("Qwen2.5-Math", row.qwen)):
            if theirs != row.ours:
                found.setdefault(Disagreement(row.kind, theirs, row.ours), Counter())[name] += 1
    return found


def render(rows: list[Row], version: str) -> str:
    """Return the document."""
    lines = [_HEAD.format(version=version), f"{len(rows)} pairs:\n\n"]
    lines += [
        "| grader | `same`: right | unknown | wrong | `other`: wrong | unknown | right |\n",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    ]
    for name, column in (("this project", "ours"), ("math-verify", "math_verify"), ("Qwen2.5-Math", "qwen")):
        counts = Counter((row.made, getattr(row, column)) for row in rows)
        cells = [counts["same", verdict] for verdict in ("right", "unknown", "wrong")]
        cells += [counts["other", verdict] for verdict in ("wrong", "unknown", "right")]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |\n")
    lines.append("\nThe pairs on which another grader disagrees with this project's:\n\n")
    lines += [
        "| kind | they say | this project | math-verify | Qwen2.5-Math | reason |\n",
        "| --- | --- | --- | ---: | ---: | --- |\n",
    ]
    for one, counts in sorted(disagreements(rows).items()):
        cells = [one.kind, one.theirs, one.ours, str(counts["math-verify"]), str(counts["Qwen2.5-Math"])]
        lines.append(f"| {' | '.join(cells)} | {REASONS.get(one, 'NO REASON')} |\n")
    return "".join(lines)
