"""The summary of construct: counts, win rates and histograms, in any order of reading."""

import json
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionrun.api.spec.data import Task
from fusionrun_stages.construction.histogram import BINS, Histogram, Lengths, share_bins
from fusionrun_stages.construction.summary import EXAMPLE_CHARACTERS, Summary, prepared
from fusionrun_stages.prompts.contamination import BenchmarkIndex, ContaminatedPrompt, ContaminationReport

INS, MATH = str(Task.INSTRUCTION), str(Task.MATHEMATICS)


def candidates(*rows):
    """Build candidates from (prompt, task, source, score) and optionally whether it is right, and how it ended."""
    rows = [(*row, *(False, "stop")[len(row) - 4 :]) for row in rows]
    return pl.DataFrame(
        [
            {
                "prompt": prompt, "dataset": task.lower(), "task": task, "source": source, "sample": number,
                "answered": ended != "error", "finished": ended == "stop", "score": score, "right": right,
                "wrong": not right and task == MATH, "fault": False,
                "missing": None,
            }
            for number, (prompt, task, source, score, right, ended) in enumerate(rows)
        ],
        schema_overrides={"score": pl.Int64, "missing": pl.String},
    )  # fmt: skip


def seen(*rows):
    summary = Summary(["ada", "bob", "cyd"])
    summary.add_candidates(candidates(*rows))
    return summary


def test_the_highest_score_wins_the_prompt():
    rows = [(1, INS, 0, 90), (1, INS, 1, 70), (2, INS, 0, 10), (2, INS, 1, 20), (3, INS, 0, 50), (3, INS, 1, 40)]
    assert seen(*rows).win_rates() == {"ada": 2 / 3, "bob": 1 / 3}


def test_equal_scores_share_the_win():
    rates = seen(*[(1, INS, source, 90) for source in (0, 1, 2)]).win_rates()
    assert rates == dict.fromkeys(("ada", "bob", "cyd"), 1 / 3)


def test_only_right_responses_win_if_the_task_has_verdicts():
    assert seen((1, MATH, 0, 90), (1, MATH, 1, 70, True)).win_rates() == {"ada": 0, "bob": 1}


def test_a_prompt_with_one_source_or_without_usable_responses_is_not_contested():
    alone = (1, INS, 0, 90)
    no_usable = [(2, MATH, 0, 90), (2, MATH, 1, 70)]
    failed = [(3, INS, 0, 90), (3, INS, 1, None, False, "error")]
    assert seen(alone, *no_usable, *failed).win_rates() == {}


def test_a_truncated_response_is_counted_and_cannot_win():
    summary = seen((1, INS, 0, 99, False, "length"), (1, INS, 1, 70))
    assert summary.win_rates() == {"ada": 0, "bob": 1}
    assert summary.numbers()["truncated_share"] == 0.5
    assert summary.document()["sources"]["ada"]["truncated"] == 1


def test_outcomes_are_counted_by_source_and_data_set():
    document = seen((1, MATH, 0, 90, True), (1, MATH, 0, 70), (2, INS, 0, None, False, "error")).document()
    assert document["outcomes"]["ada"]["mathematics"] == {
        "responses": 2, "failed": 0, "truncated": 0, "right": 1, "wrong": 1, "scored": 2,
    }  # fmt: skip
    assert document["outcomes"]["ada"]["instruction"]["failed"] == 1


def test_the_number_of_slices_does_not_change_the_summary():
    random = Random(7)
    rows = [
        (prompt, INS if prompt % 2 else MATH, source, random.randint(-(10**6), 10**6),
         random.random() < 0.5, random.choice(["stop", "stop", "length"]))
        for prompt in range(60) for source in range(3)
    ]  # fmt: skip
    whole, parted = Summary(["ada", "bob", "cyd"]), Summary(["ada", "bob", "cyd"])
    whole.add_candidates(candidates(*rows))
    for shard in (2, 0, 1):
        parted.add_candidates(candidates(*[row for row in rows if row[0] % 3 == shard]))
    assert json.dumps(whole.document()) == json.dumps(parted.document())


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(-(10**9), 10**9), max_size=6), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_a_histogram_counts_every_value_in_any_order(parts, order):
    one, other = Histogram(), Histogram()
    for part in parts:
        one.add(pl.Series(part, dtype=pl.Int64))
    shuffled = list(parts)
    order.shuffle(shuffled)
    for part in shuffled:
        other.add(pl.Series(part, dtype=pl.Int64))
    assert one.document() == other.document()
    values = [value for part in parts for value in part]
    counts = one.document()["counts"]
    assert sum(counts) == len(values)
    assert len(counts) <= BINS
    for value in values:
        assert counts[(value - one.document()["least"]) // one.width] > 0


def test_histograms_that_are_compared_have_the_same_bins():
    one, other, empty = Histogram(), Histogram(), Histogram()
    one.add(pl.Series([1, 2, 3]))
    other.add(pl.Series([10_000, -5_000]))
    share_bins([one, other, empty])
    assert one.width == other.width == empty.width
    assert (one.count, other.count) == (3, 2)


def test_lengths_are_counted_in_characters_and_half_octaves():
    lengths = Lengths()
    lengths.add(pl.Series(["", "a", "ä" * 3, "a" * 5, "a" * 100]))
    document = lengths.document()
    assert (document["mean"], document["longest"]) == (109 / 5, 100)
    found = {edge: count for edge, count in zip(document["edges"], document["counts"], strict=False) if count}
    assert len(document["edges"]) == len(document["counts"]) + 1
    assert found == {0: 1, 1: 1, 3: 1, 4: 1, 96: 1}


def test_contamination_examples_are_read_from_the_report_of_prepare(tmp_path):
    details = {"datasets": {"m": {"rows": 9, "duplicates": 2, "first_bad": "x"}}}
    assert prepared(tmp_path, details) == {"datasets": {"m": {"duplicates": 2, "rows": 9}}}
    report = ContaminationReport(examples_per_benchmark=30)
    for _ in range(50):
        report.add(ContaminatedPrompt("1", "d", "gsm8k", "p" * 999, "a b c"))
    overlap = BenchmarkIndex()
    overlap.add("gsm8k", ["a b c"])
    (tmp_path / "contamination.json").write_text(json.dumps(report.as_json(overlap)))
    found = prepared(tmp_path, details)["contamination"]
    assert len(found) == 20
    assert found[0] == {"prompt": "p" * EXAMPLE_CHARACTERS, "benchmark": "gsm8k", "shared": "a b c"}
