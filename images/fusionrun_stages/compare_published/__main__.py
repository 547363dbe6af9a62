"""Compare the rows of a run with the published ones: ``python -m fusionrun_stages.compare_published --help``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fusionrun_stages.compare_published.counts import SideCounts, find_overlap
from fusionrun_stages.compare_published.examples import Kind, read_published, read_run
from fusionrun_stages.compare_published.report import to_text
from fusionrun_stages.errors import UserError


def compare(sft: Path | None, dpo: Path | None, dataset: Path | None) -> dict[str, Any]:
    """Return the counts of the published files, of a run if there is one, and what they share."""
    published = SideCounts()
    for path, kind in ((sft, Kind.SFT), (dpo, Kind.PAIR)):
        if path is not None:
            published.add(read_published(path, kind))
    document = {"published": published.document()}
    if dataset is not None:
        run = SideCounts()
        run.add(read_run(dataset))
        document |= {"run": run.document(), "overlap": find_overlap(run, published)}
    return document


def main(arguments: list[str]) -> int:
    """Write the comparison to standard output; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fusionrun_stages.compare_published",
        description="Compare the rows of a run with the files that the authors of FuseChat-3.0 published.",
    )
    parser.add_argument("--sft", type=Path, help="train.json of FuseAI/FuseChat-3.0-SFT-Data")
    parser.add_argument("--dpo", type=Path, help="train.json of FuseAI/FuseChat-3.0-DPO-Data")
    parser.add_argument("--dataset", type=Path, help="folder of the run's sft.parquet, pairs.parquet, held-out.parquet")
    parser.add_argument("--json", action="store_true", help="write JSON instead of tables")
    given = parser.parse_args(arguments)
    if given.sft is None and given.dpo is None:
        parser.error("at least one of --sft and --dpo is required")
    try:
        document = compare(given.sft, given.dpo, given.dataset)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n" if given.json else to_text(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
