"""Write inputs of the end-to-end tests: invalid content, and data sets with responses or solutions."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

WRONG_EVERY = 5
"""Every fifth response or solution is wrong."""


def write_broken(inputs: Path) -> None:
    """Write the invalid content that ``tests/crd/broken`` refers to."""
    folder = inputs / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    corrupt = folder / "models" / "corrupt"
    shutil.copytree(inputs / "tiny" / "models" / "target", corrupt)
    weights = corrupt / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (folder / "empty.jsonl").touch()
    (folder / "rows.xlsx").write_text("cells\n")


def write_responses(inputs: Path) -> None:
    """Write the tiny mathematics prompts, each with a response."""
    rows = read_prompts(inputs, "mathematics")
    for number, row in enumerate(rows):
        row["solution"] = rf"So \boxed{{{int(row['answer']) + (number % WRONG_EVERY == 0)}}}"
    write_held(inputs, "mathematics", rows)


def write_solutions(inputs: Path) -> None:
    """Write the tiny coding prompts, each with a solution: a table of the expected results of its tests."""
    rows = read_prompts(inputs, "coding")
    for number, row in enumerate(rows):
        tests = (re.fullmatch(r"assert f\((-?\d+)\) == (-?\d+)", test) for test in row["tests"])
        table = {int(found[1]): int(found[2]) + (number % WRONG_EVERY == 0) for found in tests if found}
        row["solution"] = f"def f(x):\n    return {table}[x]\n"
    write_held(inputs, "coding", rows)


def read_prompts(inputs: Path, skill: str) -> list[dict[str, Any]]:
    """Read the tiny prompts of a skill."""
    return [json.loads(line) for line in (inputs / "tiny" / "prompts" / f"{skill}.jsonl").read_text().splitlines()]


def write_held(inputs: Path, skill: str, rows: list[dict[str, Any]]) -> None:
    """Write a data set."""
    folder = inputs / "held"
    folder.mkdir(exist_ok=True)
    (folder / f"{skill}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_broken(Path(sys.argv[1]))
    write_responses(Path(sys.argv[1]))
    write_solutions(Path(sys.argv[1]))
