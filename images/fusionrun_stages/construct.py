"""Make the SFT rows and the preference pairs of a run, by the recipe's rules (``construction``).

Usage: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages construct``

The selection reads no texts, and one slice of a shard at a time. Then only the texts of the chosen responses are read.
A row has the prompt and the response, without the source's system prompt: the target must answer well without it
(FusionRun's choice; the recipe does not specify it).
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from fusionrun.api.artifacts import SUMMARY_FILE
from fusionrun.api.records import MICRO, DropReason
from fusionrun.api.results.values import Prepared
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import ConstructParameters, SourceInputs
from fusionrun_stages.construction.counts import count
from fusionrun_stages.construction.files import FILES, RECORDS
from fusionrun_stages.construction.keys import (
    ShardSlice,
    read_candidates,
    read_failed_solutions,
    read_prompts,
    shard_files,
    slice_shard,
)
from fusionrun_stages.construction.rows import append_rows, count_ranges, gather_texts, read_ranges, spill
from fusionrun_stages.construction.rules import choose
from fusionrun_stages.construction.selection import select
from fusionrun_stages.construction.summary import Summary, prepared
from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.manifest import read_input
from fusionrun_stages.volume.parquet import open_parquet
from fusionrun_stages.work import Made, Work


def run(work: Work) -> Made:
    """Write ``sft.parquet``, ``pairs.parquet``, ``held-out.parquet`` and ``summary.json``; count drops by reason.

    Raise UserError if no prompt gives an SFT row.
    """
    parameters = work.parameters(ConstructParameters)
    sources = sorted(parameters.sources, key=lambda inputs: inputs.source)
    names = [inputs.source for inputs in sources]
    slices = [part for shard in shard_files(parameters.prompts_dir) for part in slice_shard(shard, sources)]
    summary = Summary(names)
    decisions = []
    for number, part in enumerate(slices):
        work.report(number, 2 * len(slices), "slices")
        decisions.append(decide(part, parameters, sources, summary).with_columns(slice=pl.lit(number, pl.UInt32)))
    decided, chosen = select(pl.concat(decisions), parameters)
    artifact = Path(parameters.prepare_manifest).parent
    manifest, drops = read_input(artifact, StageKind.PREPARE, Prepared)
    made, details = count(decided, chosen, list(parameters.tasks), names, drops)
    if not made.sft_rows:
        raise UserError(f"none of {decided.height} prompts gives an SFT row: {made.drops}")
    _write(work, slices, sources, chosen, summary)
    document = summary.document() | {"prepared": prepared(artifact, manifest.details)}
    write_atomic(work.output / SUMMARY_FILE, json.dumps(document, indent=1, sort_keys=True).encode())
    rates = {source: round(rate, 4) for source, rate in summary.win_rates().items()}
    by_source = {
        name: counts.model_copy(update={"win_rate": rates.get(name)}) for name, counts in made.by_source.items()
    }
    made = made.model_copy(update={**summary.numbers(), "by_source": by_source})
    return Made(values=made, files=[*FILES.values(), SUMMARY_FILE], details=details)


def decide(
    part: ShardSlice, parameters: ConstructParameters, sources: Sequence[SourceInputs], summary: Summary
) -> pl.DataFrame:
    """Apply ``rules.choose`` to a slice, and drop prompts whose reference solution fails; update the summary."""
    prompts = read_prompts(part, parameters.tasks)
    failed = read_failed_solutions(part, parameters.solutions_verdicts_dir)
    candidates = read_candidates(part, sources, prompts.join(failed, on="prompt", how="anti"))
    summary.add_candidates(candidates)
    margin = parameters.reward_margin
    decided = choose(candidates, prompts, (round(margin.min * MICRO), round(margin.max * MICRO)))
    is_failed = pl.col("prompt").is_in(failed["prompt"].implode())
    return decided.with_columns(
        drop=pl.when(is_failed).then(pl.lit(str(DropReason.SOLUTION_FAILED))).otherwise(pl.col("drop"))
    )


def _write(
    work: Work, slices: list[ShardSlice], sources: Sequence[SourceInputs], chosen: pl.DataFrame, summary: Summary
) -> None:
    folder = work.output / f".ranges.{work.pod_uid}"
    for leftover in work.output.glob(".ranges.*"):  # of pods that were killed
        shutil.rmtree(leftover, ignore_errors=True)
    folder.mkdir()
    ranges = count_ranges(chosen.height)
    for number, part in enumerate(slices):
        work.report(len(slices) + number, 2 * len(slices), "slices")
        rows = chosen.filter(pl.col("slice") == number)
        spill(gather_texts(part, sources, rows), folder, ranges, f"{number:05d}")
    with ExitStack() as stack:
        writers = {
            kind: stack.enter_context(open_parquet(work.output / name, RECORDS[kind])) for kind, name in FILES.items()
        }
        for rows in read_ranges(folder, ranges):
            summary.add_rows(rows)
            for kind, writer in writers.items():
                append_rows(writer, kind, rows)
    shutil.rmtree(folder)
