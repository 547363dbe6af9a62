"""Selection of the SFT rows and pairs: the bound per data set, the SFT/DPO split, and the held-out pairs. Pure.

``rules`` decides which row and pair each prompt can give. Here, in this order:

1. Prompts beyond their data set's ``maxKept`` are dropped.
2. Instruction prompts are split by data set: floor(``sftFraction`` * N) give an SFT row and no pair, the others a pair
   and no row (``rules`` drops those that cannot give both). Mathematics prompts give the pair if they have one,
   otherwise a row. Coding prompts give a row and, if they have one, the pair; SftOnly prompts give a row.
3. A share of the pairs is held out of training. A prompt whose pair is held out gives no SFT row: the row would be the
   pair's chosen response or one like it, and ``promote`` would rank models by what they were trained on.

Every draw is by a seeded hash of the prompt (``split``): shards and order do not change it.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from fusionrun.api.records import DropReason
from fusionrun.api.spec.data import Task
from fusionrun.api.tasks.parameters import ConstructParameters
from fusionrun_stages.construction.files import HELD_OUT, PAIR, SFT
from fusionrun_stages.construction.split import hold_out, keep, take


def select(decided: pl.DataFrame, parameters: ConstructParameters) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Select the rows and pairs of all prompts; return ``decided`` and ``chosen``.

    ``decided`` is the result of ``rules.choose`` for all prompts, with each prompt's slice of a shard (``slice``).
    Prompts beyond the bound get the drop reason ``OverMaxKept``.

    ``chosen`` has one row per SFT row and pair: ``prompt``, ``dataset``, ``task``, ``slice``, ``kind``, ``source``,
    ``first`` and ``second`` (sample indexes: of the row, or of the chosen and rejected response),
    ``chosen_score_micro`` and ``rejected_score_micro``. ``second`` and the scores of an SFT row are null.
    """
    decided = drop_over_bound(decided, parameters)
    useful = decided.filter(pl.col("drop").is_null())
    sft_instructions = split_instructions(useful, parameters)
    pairs = _choose_pairs(useful, sft_instructions, parameters)
    held_out = pairs.filter(pl.col("kind") == HELD_OUT)["prompt"]
    return decided, pl.concat([_choose_sft_rows(useful, sft_instructions, held_out), pairs])


def drop_over_bound(decided: pl.DataFrame, parameters: ConstructParameters) -> pl.DataFrame:
    """Drop prompts whose rows and pairs exceed ``maxKept`` of their data set."""
    gives_both = (pl.col("task") == str(Task.CODING)) & pl.col("pair_source").is_not_null()
    examples = 1 + gives_both.cast(pl.UInt32)
    useful = decided.filter(pl.col("drop").is_null()).select("prompt", "dataset", examples=examples)
    over = pl.Series(dtype=pl.UInt64)
    for dataset, limit in sorted(parameters.max_kept.items()):
        rows = useful.filter(pl.col("dataset") == dataset)
        if rows["examples"].sum() > limit:
            kept = keep(_prompt_ids(rows), rows["examples"].to_list(), limit, parameters.seed)
            over = over.append(rows.filter(~_is_one_of(_prompt_keys(kept)))["prompt"])
    is_over = _is_one_of(over)
    return decided.with_columns(
        drop=pl.when(is_over).then(pl.lit(str(DropReason.OVER_MAX_KEPT))).otherwise(pl.col("drop")),
        no_pair=pl.when(~is_over).then(pl.col("no_pair")),
    )


def split_instructions(useful: pl.DataFrame, parameters: ConstructParameters) -> pl.Series:
    """Return the Instruction prompts that give an SFT row and not a pair."""
    instruction = useful.filter(pl.col("task") == str(Task.INSTRUCTION))
    to_sft: list[str] = []
    for dataset in sorted(instruction["dataset"].unique()):
        prompt_ids = _prompt_ids(instruction.filter(pl.col("dataset") == dataset))
        to_sft += take(prompt_ids, parameters.sft_fraction, parameters.seed, "sft")
    return _prompt_keys(to_sft)


def _choose_sft_rows(useful: pl.DataFrame, sft_instructions: pl.Series, held_out: pl.Series) -> pl.DataFrame:
    gives_row = (
        pl.when(pl.col("task") == str(Task.INSTRUCTION))
        .then(_is_one_of(sft_instructions))
        .when(pl.col("task") == str(Task.MATHEMATICS))
        .then(pl.col("pair_source").is_null())
        .otherwise(pl.lit(value=True))
    )
    return useful.filter(gives_row, ~_is_one_of(held_out)).select(
        "prompt",
        "dataset",
        "task",
        "slice",
        kind=pl.lit(SFT),
        source="row_source",
        first="row_sample",
        second=pl.lit(None, pl.UInt32),
        chosen_score_micro=pl.lit(None, pl.Int64),
        rejected_score_micro=pl.lit(None, pl.Int64),
    )


def _choose_pairs(useful: pl.DataFrame, sft_instructions: pl.Series, parameters: ConstructParameters) -> pl.DataFrame:
    pairs = useful.filter(pl.col("pair_source").is_not_null(), ~_is_one_of(sft_instructions))
    held_out = _prompt_keys(hold_out(_prompt_ids(pairs), parameters.held_out_fraction, parameters.seed))
    return pairs.select(
        "prompt",
        "dataset",
        "task",
        "slice",
        kind=pl.when(_is_one_of(held_out)).then(pl.lit(HELD_OUT)).otherwise(pl.lit(PAIR)),
        source="pair_source",
        first="chosen_sample",
        second="rejected_sample",
        chosen_score_micro="chosen_score",
        rejected_score_micro="rejected_score",
    )


def _is_one_of(prompts: pl.Series) -> pl.Expr:
    return pl.col("prompt").is_in(prompts.implode())


def _prompt_ids(rows: pl.DataFrame) -> Sequence[str]:
    return [f"{prompt:016x}" for prompt in rows["prompt"]]


def _prompt_keys(prompt_ids: Iterable[str]) -> pl.Series:
    return pl.Series([int(prompt_id, 16) for prompt_id in prompt_ids], dtype=pl.UInt64)
