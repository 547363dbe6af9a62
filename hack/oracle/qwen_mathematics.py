"""Grade invented responses with the official Qwen2.5-Math harness, and commit the verdicts."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from oracle.qwen_responses import Answered, answered

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "tests/stages/grading/qwen_verdicts.jsonl"
NUMBER_WORDS = ROOT / "tests/stages/grading/number_words.jsonl"


class Row(NamedTuple):
    """A response, and what the official code makes of it."""

    kind: str
    gold: str
    response: str
    answer: str
    """The final answer in its normal form."""
    verdict: str
    """``right``, ``wrong`` or ``time``."""


def read_rows() -> list[Row]:
    """Read the committed verdicts."""
    return [Row(*json.loads(line)) for line in VERDICTS.read_text(encoding="utf-8").splitlines()]


def judge(made: Sequence[Answered], repository: Path, python: str) -> list[Row]:
    """Grade by the official harness in a process of its own."""
    lines = "".join(json.dumps([one.gold, one.response]) + "\n" for one in made)
    command = [python, str(Path(__file__).with_name("qwen_protocol.py")), str(repository.resolve())]
    found = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    if len(found) != len(made):
        raise SystemExit(f"{len(found)} verdicts for {len(made)} responses")
    return [Row(*one, *json.loads(line)) for one, line in zip(made, found, strict=True)]


def main(arguments: Sequence[str]) -> None:
    """Write the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="a checkout of github.com/QwenLM/Qwen2.5-Math")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the packages of that grader")
    options = parser.parse_args(arguments)
    rows = judge(list(answered()), options.repo, options.python)
    VERDICTS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    with NUMBER_WORDS.open("w", encoding="utf-8") as file:
        subprocess.run([options.python, str(Path(__file__).with_name("word_numbers.py"))], stdout=file, check=True)
    print(f"{len(rows)} responses: {VERDICTS}; numbers in words: {NUMBER_WORDS}")
