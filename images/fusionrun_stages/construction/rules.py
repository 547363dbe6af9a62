"""The SFT row and the preference pair that a prompt can give, or the reason why it is dropped. Pure.

The rules are those of FuseChat-3.0 (arXiv 2503.04222, data construction, and the README of its repository). Rules that
neither of them states are FusionRun's, and are marked so here and in docs/data.md. ``selection`` decides which rows and
pairs are used.

A *candidate* is one response of one source to one prompt::

    prompt, dataset, task        the prompt, and the task whose rules apply
    source, sample               the source (its index) and the sample
    answered                     the request succeeded, and the text is truncated or not blank
    finished                     ... and not truncated: a truncated response is never used
    right, wrong                 the verdict; neither if it is unknown
    missing                      the module that the sandbox's image does not have, or null
    fault                        the prompt's reference answer or tests are unusable
    score                        reward-model score in millionths; null if it was not scored

``source`` sorts like the sources' names. Scores are integers, so that a margin of exactly 0.01 is exact.
"""

import polars as pl

from fusionrun.api.records import DropReason
from fusionrun.api.spec.data import Task

KEYS = ["prompt", "source"]


def choose(candidates: pl.DataFrame, prompts: pl.DataFrame, margin: tuple[int, int]) -> pl.DataFrame:
    """Decide which row and pair each prompt can give, or why it is dropped.

    ``prompts`` has one row per prompt (``prompt``, ``dataset``, ``task``), also for prompts without a candidate.
    ``margin`` is the minimum and maximum score difference of a pair in millionths, inclusive.

    The result has one row per prompt: the columns of ``prompts``; ``row_source``, ``row_sample`` (the SFT row that it
    can give; null only if it is dropped); ``pair_source``, ``chosen_sample``, ``rejected_sample``, ``chosen_score``,
    ``rejected_score`` (the pair that it can give); ``drop`` (a DropReason, or null) and ``no_pair`` (why there is no
    pair, or null).
    """
    counts = _count(candidates)
    usable = candidates.filter(pl.col("finished"))
    scored = usable.filter(pl.col("score").is_not_null())
    instruction = _of(scored, Task.INSTRUCTION)
    judged = _of(scored, Task.MATHEMATICS, Task.CODING)
    right, wrong = judged.filter(pl.col("right")), judged.filter(pl.col("wrong"))
    # A row is a right response, or any response if the task has no verdicts.
    rows = pl.concat([_best(instruction), _best(right), _first(_of(usable, Task.SFT_ONLY))])
    pairs = pl.concat([_pair(instruction, instruction), _pair(right, wrong)])
    valid, refused = _partition(pairs, margin)
    return (
        prompts.join(rows, on="prompt", how="left", maintain_order="left")
        .join(_best_pair(valid), on="prompt", how="left", maintain_order="left")
        .join(_refusal(refused, margin), on="prompt", how="left", maintain_order="left")
        .join(counts, on="prompt", how="left", maintain_order="left")
        .with_columns(pl.col("answered", "finished", "scored", "right", "right_scored", "wrong", "fault").fill_null(0))
        .with_columns(drop=_drop(), no_pair=_no_pair())
        .drop("answered", "finished", "scored", "right", "right_scored", "wrong", "fault", "refusal")
    )


def _of(candidates: pl.DataFrame, *tasks: Task) -> pl.DataFrame:
    return candidates.filter(pl.col("task").is_in([str(task) for task in tasks]))


def _count(candidates: pl.DataFrame) -> pl.DataFrame:
    finished, scored = pl.col("finished"), pl.col("score").is_not_null()
    return candidates.group_by("prompt").agg(
        answered=pl.col("answered").sum(),
        finished=finished.sum(),
        scored=(finished & scored).sum(),
        right=(finished & pl.col("right")).sum(),
        right_scored=(finished & scored & pl.col("right")).sum(),
        wrong=(finished & pl.col("wrong")).sum(),
        fault=(finished & pl.col("fault")).sum(),
    )


def _best(candidates: pl.DataFrame) -> pl.DataFrame:
    """Take each prompt's highest score over all sources; ties by source name, then sample (FusionRun's)."""
    ranked = candidates.sort("prompt", "score", "source", "sample", descending=[False, True, False, False])
    return _row(ranked)


def _first(candidates: pl.DataFrame) -> pl.DataFrame:
    """Take each prompt's first response by source name, then sample (FusionRun's; the recipe has one response)."""
    return _row(candidates.sort("prompt", "source", "sample"))


def _row(ranked: pl.DataFrame) -> pl.DataFrame:
    first = ranked.unique("prompt", keep="first", maintain_order=True)
    return first.select("prompt", row_source="source", row_sample="sample")


def _pair(chosen: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    """Pair the highest score of ``chosen`` with the lowest of ``rejected``, for each prompt and source.

    Both sides are from the same source, so that the pairs do not encode the reward model's preference for another
    model's style. Equal scores are ordered by sample on both sides (FusionRun's). The two responses differ.
    """
    high = chosen.sort(*KEYS, "score", "sample", descending=[False, False, True, False])
    high = high.unique(KEYS, keep="first", maintain_order=True)
    rest = rejected.join(high, on=[*KEYS, "sample"], how="anti")
    low = rest.sort(*KEYS, "score", "sample").unique(KEYS, keep="first", maintain_order=True)
    return high.join(low.select(*KEYS, "sample", "score"), on=KEYS, suffix="_low").select(
        "prompt",
        "task",
        pair_source="source",
        chosen_sample="sample",
        rejected_sample="sample_low",
        chosen_score="score",
        rejected_score="score_low",
    )


def _partition(pairs: pl.DataFrame, margin: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the pairs within the margin from the others; Coding has no margin."""
    gap = pl.col("chosen_score") - pl.col("rejected_score")
    valid = (pl.col("task") == str(Task.CODING)) | gap.is_between(*margin, closed="both")
    return pairs.filter(valid), pairs.filter(~valid)


def _best_pair(pairs: pl.DataFrame) -> pl.DataFrame:
    """Keep one pair per prompt: the highest chosen score; ties by source name (FusionRun's)."""
    ranked = pairs.sort("prompt", "chosen_score", "pair_source", descending=[False, True, False])
    return ranked.unique("prompt", keep="first", maintain_order=True).drop("task")


def _refusal(refused: pl.DataFrame, margin: tuple[int, int]) -> pl.DataFrame:
    """Return why the best of the refused pairs was refused."""
    gap = pl.col("chosen_score") - pl.col("rejected_score")
    reason = pl.when(gap < margin[0]).then(_lit(DropReason.MARGIN_BELOW)).otherwise(_lit(DropReason.MARGIN_ABOVE))
    return _best_pair(refused.with_columns(refusal=reason)).select("prompt", "refusal")


def _lit(reason: DropReason) -> pl.Expr:
    return pl.lit(str(reason))


def _drop() -> pl.Expr:
    """Return the first drop reason that applies, from the request to the margin."""
    task, has_pair = pl.col("task"), pl.col("pair_source").is_not_null()
    unjudged = task == str(Task.SFT_ONLY)
    by_score = task == str(Task.INSTRUCTION)
    return (
        pl.when(pl.col("answered") == 0)
        .then(_lit(DropReason.NO_RESPONSE))
        .when(pl.col("finished") == 0)
        .then(_lit(DropReason.TRUNCATED))
        .when(unjudged)
        .then(None)
        .when(by_score & (pl.col("scored") == 0))
        .then(_lit(DropReason.UNSCORED))
        .when(by_score & ~has_pair)
        .then(pl.coalesce("refusal", _lit(DropReason.SINGLE_RESPONSE)))
        .when(by_score)
        .then(None)
        .when((pl.col("right") == 0) & (pl.col("fault") > 0))
        .then(_lit(DropReason.UNPARSABLE_ANSWER))
        .when(pl.col("right") == 0)
        .then(_lit(DropReason.NO_CORRECT_RESPONSE))
        .when(pl.col("right_scored") == 0)
        .then(_lit(DropReason.UNSCORED))
        .otherwise(None)
    )


def _no_pair() -> pl.Expr:
    """Return why a prompt with verdicts has no pair; it is not dropped."""
    judged = pl.col("task").is_in([str(Task.MATHEMATICS), str(Task.CODING)])
    return (
        pl.when(~judged | pl.col("pair_source").is_not_null() | (pl.col("right_scored") == 0))
        .then(None)
        .when(pl.col("wrong") == 0)
        .then(_lit(DropReason.ALL_CORRECT))
        .otherwise(pl.coalesce("refusal", pl.lit("NoSameSource")))
    )
