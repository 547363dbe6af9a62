"""construct: make the SFT rows and the preference pairs of a run, by the recipe's rules.

Decides on keys alone, shard by shard and a large shard part by part; reads the texts of the chosen responses only. A
row holds the prompt and the answer: the system prompt that a source was asked with is *not* put into it (the recipe is
silent; ours), since the target must answer well without it.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fusionrun.api.data import Task
from fusionrun.api.parameters import ConstructParameters
from fusionrun.api.records import MICRO, DropReason, PreferencePair, SftExample
from fusionrun.api.result import dataset_count
from fusionrun_stages.construction.keys import (
    Part,
    parts_of,
    read_candidates,
    read_failed_solutions,
    read_prompts,
    shard_files,
)
from fusionrun_stages.construction.rows import (
    TableWriter,
    build_pairs,
    build_sft_rows,
    count_ranges,
    gather_texts,
    read_ranges,
    spill,
)
from fusionrun_stages.construction.rules import choose
from fusionrun_stages.construction.split import hold_out, keep, take
from fusionrun_stages.construction.summary import FILE as SUMMARY
from fusionrun_stages.construction.summary import Summary, prepared
from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.atomic import read_json, write_atomic
from fusionrun_stages.work import Made, Work

SFT, PAIR, HELD_OUT = "sft", "pair", "held-out"
WIN_RATES = 16
"""Of so many sources the win rate goes to the status: a termination message holds no more. The card shows all."""
PREPARED = {
    DropReason.DUPLICATE: "duplicates",
    DropReason.NEAR_DUPLICATE: "near_duplicates",
    DropReason.CODE: "code",
    DropReason.MATHEMATICS: "mathematics",
    DropReason.CONTAMINATED: "contaminated",
    DropReason.OVER_LIMIT: "over_limit",
    DropReason.BAD_ROW: "bad_rows",
}
"""What ``prepare`` drops, by the name of its count."""
FILES = {SFT: "sft.parquet", PAIR: "pairs.parquet", HELD_OUT: "held-out.parquet"}


def run(work: Work) -> Made:
    """Write ``sft.parquet``, ``pairs.parquet`` and ``held-out.parquet``; count every dropped prompt by its reason.

    ``summary.json`` says what the responses and the rows are like: the data set's card is made from it.

    Raises
    ------
    UserError
        If not one SFT row can be made.
    """
    parameters = work.task.parameters
    assert isinstance(parameters, ConstructParameters)
    sources = _sources(parameters)
    parts = [part for shard in shard_files(parameters.prompts_dir) for part in parts_of(shard, sources)]
    summary = Summary([inputs.source for inputs in sources])
    decisions = []
    for number, part in enumerate(parts):
        work.report(number, 2 * len(parts), "parts")
        decisions.append(_decide(part, parameters, summary).with_columns(part=pl.lit(number, pl.UInt32)))
    decided = _bounded(pl.concat(decisions), parameters)
    pairs = _pair_rows(decided, parameters)
    chosen = pl.concat([_sft_rows(decided, pairs.filter(pl.col("kind") == HELD_OUT), parameters), pairs])
    counts, details = _count(decided, chosen, parameters)
    if not counts["sft_rows"]:
        drops = {reason: n for reason, n in counts.items() if reason.startswith("drop:")}
        raise UserError(f"none of {decided.height} prompts gives an SFT row: {drops}")
    _write(work, parts, chosen, parameters, summary)
    document = summary.document() | {"prepared": prepared(Path(parameters.prepare_manifest))}
    write_atomic(work.output / SUMMARY, json.dumps(document, indent=1, sort_keys=True).encode())
    wins = sorted(summary.win_rates().items())[:WIN_RATES]
    numbers = summary.numbers() | {f"win:{source}": round(rate, 4) for source, rate in wins}
    return Made(files=[*FILES.values(), SUMMARY], counts=counts, numbers=numbers, details=details)


def _decide(part: Part, parameters: ConstructParameters, summary: Summary) -> pl.DataFrame:
    prompts = read_prompts(part, parameters.tasks)
    failed = read_failed_solutions(part, parameters.solutions_verdicts_dir)
    candidates = read_candidates(part, _sources(parameters), prompts.join(failed, on="prompt", how="anti"))
    summary.see_candidates(candidates)
    margin = parameters.reward_margin
    decided = choose(candidates, prompts, (round(margin.min * MICRO), round(margin.max * MICRO)))
    is_failed = pl.col("prompt").is_in(failed["prompt"].implode())
    return decided.with_columns(
        drop=pl.when(is_failed).then(pl.lit(str(DropReason.SOLUTION_FAILED))).otherwise(pl.col("drop"))
    )


def _sources(parameters: ConstructParameters) -> list[Any]:
    return sorted(parameters.sources, key=lambda inputs: inputs.source)


def _bounded(decided: pl.DataFrame, parameters: ConstructParameters) -> pl.DataFrame:
    """Drop the prompts whose rows and pairs would be more than ``maxKept`` of their data set."""
    gives_both = (pl.col("task") == str(Task.CODING)) & pl.col("pair_source").is_not_null()
    useful = decided.filter(pl.col("drop").is_null()).select("prompt", "dataset", given=1 + gives_both.cast(pl.UInt32))
    over = pl.Series(dtype=pl.UInt64)
    for dataset, limit in sorted(parameters.max_kept.items()):
        own = useful.filter(pl.col("dataset") == dataset)
        if own["given"].sum() > limit:
            kept = keep(_names(own), own["given"].to_list(), limit, parameters.seed)
            left_out = ~pl.col("prompt").is_in(_numbers(kept).implode())
            over = over.append(own.filter(left_out)["prompt"])
    is_over = pl.col("prompt").is_in(over.implode())
    return decided.with_columns(
        drop=pl.when(is_over).then(pl.lit(str(DropReason.OVER_MAX_KEPT))).otherwise(pl.col("drop")),
        no_pair=pl.when(~is_over).then(pl.col("no_pair")),
    )


def _sft_rows(decided: pl.DataFrame, held_out: pl.DataFrame, parameters: ConstructParameters) -> pl.DataFrame:
    """Choose the prompts whose best response becomes an SFT row.

    Instruction: of the prompts with a pair, floor(fraction * N) in each data set, and the pairs of these are not
    used. Mathematics: those without a pair. Coding and SftOnly: all. None whose pair is held out: the row would be the
    pair's chosen answer, or one like it, and ``promote`` would rank models by what they were trained on.
    """
    kept = decided.filter(pl.col("drop").is_null() & pl.col("row_source").is_not_null())
    task, has_pair = pl.col("task"), pl.col("pair_source").is_not_null()
    to_sft = _split(kept.filter(task == str(Task.INSTRUCTION)), parameters)
    wanted = (
        pl.when(task == str(Task.INSTRUCTION))
        .then(pl.col("prompt").is_in(to_sft.implode()))
        .when(task == str(Task.MATHEMATICS))
        .then(~has_pair)
        .otherwise(pl.lit(value=True))
    )
    return kept.filter(wanted, ~pl.col("prompt").is_in(held_out["prompt"].implode())).select(
        "prompt",
        "dataset",
        "task",
        "part",
        kind=pl.lit(SFT),
        source="row_source",
        first="row_sample",
        second=pl.lit(None, pl.UInt32),
        chosen_score_micro=pl.lit(None, pl.Int64),
        rejected_score_micro=pl.lit(None, pl.Int64),
    )


def _split(instruction: pl.DataFrame, parameters: ConstructParameters) -> pl.Series:
    to_sft: list[str] = []
    for dataset in sorted(instruction["dataset"].unique()):
        names = _names(instruction.filter(pl.col("dataset") == dataset))
        to_sft += take(names, parameters.sft_fraction, parameters.seed, "sft")
    return _numbers(to_sft)


def _names(rows: pl.DataFrame) -> list[str]:
    return [f"{prompt:016x}" for prompt in rows["prompt"]]


def _numbers(names: Sequence[str]) -> pl.Series:
    return pl.Series([int(name, 16) for name in names], dtype=pl.UInt64)


def _pair_rows(decided: pl.DataFrame, parameters: ConstructParameters) -> pl.DataFrame:
    """Choose the pairs, and hold some of them out; an Instruction prompt that went to SFT gives none."""
    kept = decided.filter(pl.col("drop").is_null() & pl.col("pair_source").is_not_null())
    instruction = pl.col("task") == str(Task.INSTRUCTION)
    to_sft = _split(kept.filter(instruction), parameters)
    pairs = kept.filter(~(instruction & pl.col("prompt").is_in(to_sft.implode())))
    held_out = _numbers(hold_out(_names(pairs), parameters.held_out_fraction, parameters.seed))
    return pairs.select(
        "prompt",
        "dataset",
        "task",
        "part",
        kind=pl.when(pl.col("prompt").is_in(held_out.implode())).then(pl.lit(HELD_OUT)).otherwise(pl.lit(PAIR)),
        source="pair_source",
        first="chosen_sample",
        second="rejected_sample",
        chosen_score_micro="chosen_score",
        rejected_score_micro="rejected_score",
    )


def _count(
    decided: pl.DataFrame, chosen: pl.DataFrame, parameters: ConstructParameters
) -> tuple[dict[str, int], dict[str, Any]]:
    names = [inputs.source for inputs in _sources(parameters)]
    kinds = Counter(chosen["kind"])
    counts = {"sft_rows": kinds[SFT], "pairs": kinds[PAIR], "held_out_pairs": kinds[HELD_OUT]}
    for kind, prefix in ((SFT, "sft"), (PAIR, "pairs")):
        by_source = Counter(chosen.filter(pl.col("kind") == kind)["source"])
        counts |= {f"{prefix}:{names[number]}": by_source[number] for number in sorted(by_source)}
    by_dataset = _tally(chosen, "dataset", "kind")
    for dataset in sorted(parameters.tasks):
        rows = by_dataset.get(dataset, {})
        counts[dataset_count("sft", dataset)] = rows.get(SFT, 0)
        counts[dataset_count("pairs", dataset)] = rows.get(PAIR, 0) + rows.get(HELD_OUT, 0)
    prepared = read_json(Path(parameters.prepare_manifest)).get("counts", {})
    drops = Counter(decided["drop"].drop_nulls())
    for reason, name in PREPARED.items():
        drops[str(reason)] += prepared.get(name, 0)
    counts |= {f"drop:{reason}": drops[reason] for reason in sorted(drops) if drops[reason]}
    return counts, {
        "by_dataset": by_dataset,
        "drops_by_dataset": _tally(decided, "dataset", "drop"),
        "no_pair_by_task": _tally(decided, "task", "no_pair"),
    }


def _tally(rows: pl.DataFrame, outer: str, inner: str) -> dict[str, dict[str, int]]:
    tally: dict[str, dict[str, int]] = {}
    for first, second, count in rows.drop_nulls(inner).group_by(outer, inner).len().sort(outer, inner).iter_rows():
        tally.setdefault(first, {})[second] = count
    return tally


def _write(
    work: Work, parts: list[Part], chosen: pl.DataFrame, parameters: ConstructParameters, summary: Summary
) -> None:
    folder = work.output / f".ranges.{work.pod_uid}"
    for left in work.output.glob(".ranges.*"):  # by predecessors that were killed
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir()
    ranges = count_ranges(chosen.height)
    for number, part in enumerate(parts):
        work.report(len(parts) + number, 2 * len(parts), "parts")
        own = chosen.filter(pl.col("part") == number)
        spill(gather_texts(part, _sources(parameters), own), folder, ranges, f"{number:05d}")
    writers = {
        kind: TableWriter(work.output / name, SftExample if kind == SFT else PreferencePair, work.pod_uid)
        for kind, name in FILES.items()
    }
    for rows in read_ranges(folder, ranges):
        summary.see_rows(rows)
        for kind, writer in writers.items():
            own = rows.filter(pl.col("kind") == kind)
            writer.append(build_sft_rows(own) if kind == SFT else build_pairs(own))
    for writer in writers.values():
        writer.close()
    shutil.rmtree(folder)
