"""The flat values of release 0.2 and the typed values are the same: both ways, for every kind of stage."""

import pytest

from fusionrun.api.results.release_0_2 import SOURCES_MAX, FlatValues, flatten, unflatten
from fusionrun.api.results.values import (
    Compared,
    Constructed,
    DatasetCounts,
    Evaluated,
    Fetched,
    Generated,
    Judged,
    Preflighted,
    Prepared,
    Promoted,
    Published,
    Resolved,
    Scored,
    SourceCounts,
    Trained,
    Verified,
)
from fusionrun.api.stage import StageKind

TOKENS = {"prompt_tokens": 50, "completion_tokens": 60}
STEPS = {"rows": 8, "dropped_long": 1, "tokens": 900, "steps": 4}
LOSSES = {"first_loss": 0.6931, "last_loss": 0.5}
ACCURACIES = {"first_reward_accuracy": 0.5, "last_reward_accuracy": 0.75}
DROPPED = {
    "duplicates": 1, "near_duplicates": 2, "code": 3, "mathematics": 4, "contaminated": 5, "over_limit": 6,
    "bad_rows": 7, "no_tests": 8,
}  # fmt: skip
CASES = [
    (Resolved(pins=["00ff"], complete=[0, 3]), {}, {}),
    (Fetched(files=9, bytes=100), {"files": 9, "bytes": 100}, {}),
    (Prepared(prompts=90, **DROPPED), {"prompts": 90, **DROPPED}, {}),
    (
        Generated(
            requests=4, responses=3, truncated=1, blank=2, errors=1, cost_micro=7, tokens_per_second=2.5, **TOKENS
        ),
        {"requests": 4, "responses": 3, "truncated": 1, "blank": 2, "errors": 1, "cost_micro": 7, **TOKENS},
        {"tokens_per_second": 2.5},
    ),
    (
        Preflighted(sft_step_seconds=5.5, dpo_step_seconds=9.25, gpu_memory_bytes=2**36, bandwidth=2e9, pairs=3),
        {"gpu_memory_bytes": 2**36, "pairs": 3},
        {"sft_step_seconds": 5.5, "dpo_step_seconds": 9.25, "bandwidth": 2e9},
    ),
    (Verified(right=3, wrong=2, unknown=1), {"right": 3, "wrong": 2, "unknown": 1}, {}),
    (Scored(scored=6, unscored=1), {"scored": 6, "unscored": 1}, {}),
    (
        Constructed(
            sft_rows=7,
            pairs=5,
            held_out_pairs=1,
            truncated_share=0.25,
            mean_margin=0.04,
            by_source={
                "ada": SourceCounts(sft_rows=4, pairs=5, win_rate=0.75),
                "bob": SourceCounts(sft_rows=3, win_rate=0.25),
            },
            by_dataset={"math": DatasetCounts(sft_rows=7, pairs=6), "chat": DatasetCounts()},
            drops={"AllCorrect": 2, "Code": 3},
        ),
        {
            "sft_rows": 7, "pairs": 5, "held_out_pairs": 1, "sft:ada": 4, "sft:bob": 3, "pairs:ada": 5,
            "sft@math": 7, "pairs@math": 6, "sft@chat": 0, "pairs@chat": 0, "drop:AllCorrect": 2, "drop:Code": 3,
        },
        {"truncated_share": 0.25, "mean_margin": 0.04, "win:ada": 0.75, "win:bob": 0.25},
    ),
    (Trained(kind=StageKind.SFT, **STEPS, **LOSSES), STEPS, LOSSES),
    (Trained(kind=StageKind.DPO, **STEPS, **LOSSES, **ACCURACIES), STEPS, LOSSES | ACCURACIES),
    (
        Promoted(step=30, candidates=2, held_out_pairs=9, held_out_accuracy=0.8, held_out_loss=0.6),
        {"candidates": 2, "held_out_pairs": 9},
        {"step": 30.0, "held_out_accuracy": 0.8, "held_out_loss": 0.6},
    ),
    (Evaluated(scores={"math": 61.5}, graded={"math": 200}), {"math": 200}, {"math": 61.5}),
    (
        Judged(judgements=9, unparsed=2, errors=1, prompt_tokens=70, completion_tokens=8, cost_micro=5),
        {"judgements": 9, "unparsed": 2, "errors": 1, "prompt_tokens": 70, "completion_tokens": 8, "cost_micro": 5},
        {},
    ),
    (Compared(), {}, {}),
    (Published(), {}, {}),
]  # fmt: skip
MEMORY = {"peak_memory_bytes": 1000}


@pytest.mark.parametrize(("values", "counts", "numbers"), CASES, ids=lambda case: getattr(case, "kind", ""))
def test_the_values_of_each_kind_are_the_same_in_both_forms(values, counts, numbers):
    flat = FlatValues(
        counts=counts | MEMORY,
        numbers=numbers,
        pins=getattr(values, "pins", []),
        complete=getattr(values, "complete", []),
    )
    assert flatten(values, 1000)[0] == flat
    assert unflatten(values.kind, flat) == values


def test_every_kind_is_compared():
    assert {values.kind for values, *_ in CASES} == set(StageKind) - {StageKind.SERVE}


def test_win_rates_of_the_first_sources_are_flat():
    by_source = {f"{n:02d}": SourceCounts(win_rate=0.5) for n in range(32)}
    (flat, *_) = flatten(Constructed(mean_margin=1.0, by_source=by_source), None)
    assert sorted(flat.numbers) == ["mean_margin", *(f"win:{n:02d}" for n in range(SOURCES_MAX))]


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("construct", {"peak_memory_bytes": 1}), ("serve", {}), ("distil", {"rows": 1}), ("", {})],
    ids=["no rows", "no values", "unknown kind", "no kind"],
)
def test_without_values_of_the_kind_there_are_none(kind, counts):
    assert unflatten(kind, FlatValues(counts=counts)) is None
