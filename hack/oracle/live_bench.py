"""Score invented responses with LiveBench's official code, and write the scores that the tests compare with.

``--repo FOLDER`` is a checkout of github.com/LiveBench/LiveBench at commit 0678e4e. ``--python PYTHON`` has what its
graders import, in the versions of its ``pyproject.toml``: pandas 2.2.2, numpy below 2, sympy, antlr4-python3-runtime
4.11, Levenshtein, lxml, langdetect, nltk and immutabledict. ``NLTK_DATA`` names a folder with NLTK's ``punkt_tab``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oracle.live_bench_cases import Invented, cases

ROOT = Path(__file__).parents[2]
SCORES = ROOT / "tests/stages/grading/live_bench/official_scores.jsonl"
OFFICIAL = Path(__file__).parent / "live_bench_official.py"


def read_scores() -> Iterator[tuple[Invented, list[float | str]]]:
    """Yield the committed questions, each with the official score of each response, or ``error``."""
    for line in SCORES.read_text(encoding="utf-8").splitlines():
        question, scores = json.loads(line)
        yield Invented(*question), scores


def official(made: Sequence[Invented], repository: Path, python: str) -> list[list[float | str]]:
    """Return the official score of each response, or ``error``."""
    lines = "".join(
        json.dumps([*question[:-1], response]) + "\n" for question in made for response in question.responses
    )
    command = [python, str(OFFICIAL), str(repository.resolve())]
    found = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    if len(found) != lines.count("\n"):
        raise SystemExit(f"{len(found)} scores for {lines.count(chr(10))} responses")
    scores: Iterator[Any] = map(json.loads, found)
    return [[next(scores) for _ in question.responses] for question in made]


def main(arguments: Sequence[str]) -> None:
    """Write the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="a checkout of github.com/LiveBench/LiveBench")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the packages of that code")
    options = parser.parse_args(arguments)
    made = list(cases())
    scores = official(made, options.repo, options.python)
    with SCORES.open("w", encoding="utf-8") as file:
        for question, found in zip(made, scores, strict=True):
            file.write(json.dumps([question, found], ensure_ascii=False) + "\n")
    print(f"{sum(map(len, scores))} responses to {len(made)} questions: {SCORES}")


if __name__ == "__main__":
    main(sys.argv[1:])
