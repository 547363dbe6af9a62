"""Write what the end-to-end tests read beside the small world: bad content, and answers that a data set holds."""

import json
import shutil
import sys
from pathlib import Path

WRONG_EVERY = 5
"""Every fifth of the held answers is wrong, so that a rule has something to judge."""


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
    rows = [json.loads(line) for line in (inputs / "tiny" / "prompts" / "mathematics.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["solution"] = rf"So \boxed{{{int(row['answer']) + (number % WRONG_EVERY == 0)}}}"
    folder = inputs / "held"
    folder.mkdir(exist_ok=True)
    (folder / "mathematics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_broken(Path(sys.argv[1]))
    write_book(Path(sys.argv[1]))
