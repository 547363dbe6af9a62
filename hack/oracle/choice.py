"""Grade invented responses with the official code of MC-Eval, and commit the verdicts.

The functions are taken from ``evaluate_from_local.py`` of a checkout of github.com/SLIT-AI/FuseChat-3.0; the module
itself needs vLLM. That of github.com/TIGER-AI-Lab/MMLU-Pro finds the same letters, but seeds its random option once, at
the start: there it depends on the questions before.
"""

import argparse
import ast
import contextlib
import io
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oracle.choice_styles import Choice, choices

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "tests/stages/grading/choice_verdicts.jsonl"
COUNT = 800
_PLACE = "FuseEval/General-Eval/MC-Eval/evaluate_from_local.py"
_FUNCTIONS = {"extract_answer", "extract_again", "extract_final", "save_res"}


class Row(NamedTuple):
    """A response, and what the official code makes of it."""

    style: str
    text: str
    options: int
    gold: str
    letter: str | None
    verdict: str


def read_rows() -> list[Row]:
    """Read the committed verdicts."""
    return [Row(*json.loads(line)) for line in VERDICTS.read_text(encoding="utf-8").splitlines()]


def judge(made: Sequence[Choice], functions: dict[str, Callable[..., Any]]) -> list[Row]:
    """Grade by the official functions."""
    rows = []
    for one in made:
        with contextlib.redirect_stdout(io.StringIO()):
            letter = functions["extract_answer"](one.text)
            graded = {
                "pred": letter,
                "options": [f"option {n}" for n in range(one.options)],
                "answer": one.gold,
                "answer_index": ord(one.gold) - ord("A"),
            }
            accuracy, *_ = functions["save_res"]([graded], os.devnull)
        rows.append(Row(*one, letter, "right" if accuracy else "wrong"))
    return rows


def official(repository: Path) -> dict[str, Callable[..., Any]]:
    """Return the official functions, without the imports of their module."""
    path = repository / _PLACE
    if not path.is_file():
        raise SystemExit(f"--repo: {repository} has no {_PLACE}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in _FUNCTIONS]
    names: dict[str, Any] = {"re": re, "random": random, "json": json}
    exec(compile(tree, str(path), "exec"), names)
    return names


def main(arguments: Sequence[str]) -> None:
    """Write the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, required=True, help="a checkout of github.com/SLIT-AI/FuseChat-3.0")
    rows = judge(list(choices(COUNT)), official(parser.parse_args(arguments).repo))
    VERDICTS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} responses: {VERDICTS}")
