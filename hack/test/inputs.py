"""Write what the end-to-end tests read beside the small world: bad content, and what data sets hold."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

WRONG_EVERY = 5
"""Every fifth of what is held is wrong, so that a rule has something to judge."""


def write_broken(inputs: Path) -> None:
    """Write the bad content that ``tests/crd/broken`` names."""
    folder = inputs / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    corrupt = folder / "models" / "corrupt"
    shutil.copytree(inputs / "tiny" / "models" / "target", corrupt)
    weights = corrupt / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (folder / "empty.jsonl").touch()
    (folder / "rows.xlsx").write_text("cells\n")


def write_book(inputs: Path) -> None:
    """Write the small world's sums with an answer to each."""
    rows = read_prompts(inputs, "mathematics")
    for number, row in enumerate(rows):
        row["solution"] = rf"So \boxed{{{int(row['answer']) + (number % WRONG_EVERY == 0)}}}"
    write_held(inputs, "mathematics", rows)


def write_solutions(inputs: Path) -> None:
    """Write the small world's programming prompts with a solution to each: a table of what its tests ask for."""
    rows = read_prompts(inputs, "coding")
    for number, row in enumerate(rows):
        asked = (re.fullmatch(r"assert f\((-?\d+)\) == (-?\d+)", test) for test in row["tests"])
        table = {int(found[1]): int(found[2]) + (number % WRONG_EVERY == 0) for found in asked if found}
        row["solution"] = f"def f(x):\n    return {table}[x]\n"
    write_held(inputs, "coding", rows)


def read_prompts(inputs: Path, skill: str) -> list[dict[str, Any]]:
    """Read the small world's prompts of a skill."""
    return [json.loads(line) for line in (inputs / "tiny" / "prompts" / f"{skill}.jsonl").read_text().splitlines()]


def write_held(inputs: Path, skill: str, rows: list[dict[str, Any]]) -> None:
    """Write a data set that holds more than prompts."""
    folder = inputs / "held"
    folder.mkdir(exist_ok=True)
    (folder / f"{skill}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_broken(Path(sys.argv[1]))
    write_book(Path(sys.argv[1]))
    write_solutions(Path(sys.argv[1]))
