"""Compare three graders of mathematics on invented pairs of a gold answer and an answer.

``hack/oracles mathematics --repo FOLDER --python PYTHON`` judges the pairs of ``pairs.py`` by this project's grader, by
plain math-verify, and by the official Qwen2.5-Math grader in FOLDER, a checkout of github.com/QwenLM/Qwen2.5-Math.
PYTHON has the packages of that grader: sympy 1.12, mpmath 1.3.0, antlr4-python3-runtime 4.11.1, regex, word2number and
numpy. The verdicts are written to ``tests/stages/grading/oracle_verdicts.jsonl``, and the disagreements to
``docs/mathematics-graders.md``. Run it with the packages of the stages and their tests, and with
``PYTHONPATH=operator:images``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from math_verify import parse, verify

from fusionrun_stages.grading.mathematics import Problem, grade_all
from oracle.pairs import Pair, pairs
from oracle.reasons import DOCUMENT, VERDICTS, disagreements, read_reasons, read_rows, render


def respond(pair: Pair) -> str:
    """Return a response with the answer in a box."""
    return f"So the answer is $\\boxed{{{pair.answer}}}$."


def ours(made: Sequence[Pair]) -> list[str]:
    """Judge by this project's grader."""
    graded = dict(grade_all([Problem(pair.gold, [respond(pair)]) for pair in made]))
    return [graded[n][0].verdict.value for n in range(len(made))]


def plain_math_verify(made: Sequence[Pair]) -> list[str]:
    """Judge by math-verify with its defaults, as its README shows."""
    found = []
    for pair in made:
        gold = pair.gold.rsplit("####", 1)[-1].strip()
        values = parse(gold if "$" in gold else f"${gold}$")
        found.append("right" if verify(values, parse(respond(pair))) else "wrong")
    return found


def qwen(made: Sequence[Pair], repository: Path, python: str) -> list[str]:
    """Judge by the official Qwen2.5-Math grader in a process of its own."""
    lines = "".join(json.dumps([pair.gold, respond(pair)]) + "\n" for pair in made)
    command = [python, str(Path(__file__).parent / "qwen_grader.py"), str(repository.resolve())]
    found = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    if len(found) != len(made):
        raise SystemExit(f"{len(found)} verdicts for {len(made)} pairs")
    return found


def main(arguments: Sequence[str]) -> None:
    """Judge all pairs, and write the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="a checkout of github.com/QwenLM/Qwen2.5-Math")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the packages of that grader")
    parser.add_argument("--count", type=int, default=2400)
    options = parser.parse_args(arguments)
    made = list(pairs(options.count))
    columns = zip(made, ours(made), plain_math_verify(made), qwen(made, options.repo, options.python), strict=True)
    with VERDICTS.open("w", encoding="utf-8") as file:
        for pair, *verdicts in columns:
            file.write(json.dumps([*pair, *verdicts], ensure_ascii=False) + "\n")
    rows = read_rows()
    DOCUMENT.write_text(render(rows, metadata.version("math-verify")), encoding="utf-8")
    without = sorted(set(disagreements(rows)) - set(read_reasons()))
    print(f"{len(rows)} pairs: {VERDICTS} and {DOCUMENT}; disagreements without a reason: {without}")
