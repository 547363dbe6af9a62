"""Why two graders disagree with this project's on a kind of pair, and the document that lists all disagreements."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "tests/stages/grading/oracle_verdicts.jsonl"
REASONS = Path(__file__).with_name("reasons.tsv")
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


_HEAD = """# How three graders judge mathematics

`hack/oracles mathematics` invents pairs of a gold answer and an answer, in other forms of the same value (`same`) and
as near misses (`other`), and judges each by this project's grader, by math-verify {version} with its defaults, and by
the grader of github.com/QwenLM/Qwen2.5-Math. The pairs and the verdicts are in
`tests/stages/grading/oracle_verdicts.jsonl`. This page is written by `hack/oracles mathematics`;
[data.md](data.md#verdicts-on-mathematics) has the rules of this project's grader.

"""


def read_rows() -> list[Row]:
    """Read the committed pairs and verdicts."""
    return [Row(*json.loads(line)) for line in VERDICTS.read_text(encoding="utf-8").splitlines()]


def read_reasons() -> dict[Disagreement, str]:
    """Read the reason for each kind of disagreement."""
    lines = (line.split("\t") for line in REASONS.read_text(encoding="utf-8").splitlines()[1:])
    return {Disagreement(*cells): reason for *cells, reason in lines}


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
    reasons = read_reasons()
    lines = [_HEAD.format(version=version), f"{len(rows)} pairs:\n\n"]
    lines.append("| grader | `same`: right | unknown | wrong | `other`: wrong | unknown | right |\n")
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
    for name, column in (("this project", "ours"), ("math-verify", "math_verify"), ("Qwen2.5-Math", "qwen")):
        counts = Counter((row.made, getattr(row, column)) for row in rows)
        cells = [counts["same", verdict] for verdict in ("right", "unknown", "wrong")]
        cells += [counts["other", verdict] for verdict in ("wrong", "unknown", "right")]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |\n")
    lines.append("\nThe pairs on which another grader disagrees with this project's:\n\n")
    lines.append("| kind | they say | this project | math-verify | Qwen2.5-Math | reason |\n")
    lines.append("| --- | --- | --- | ---: | ---: | --- |\n")
    for one, counts in sorted(disagreements(rows).items()):
        cells = [one.kind, one.theirs, one.ours, str(counts["math-verify"]), str(counts["Qwen2.5-Math"])]
        lines.append(f"| {' | '.join(cells)} | {reasons.get(one, 'NO REASON')} |\n")
    return "".join(lines)
