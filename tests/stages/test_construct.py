"""The rules of construction: one case for each rule and tie."""

from pathlib import Path

import pytest

from fusionrun.api.spec.data import Task
from fusionrun.api.tasks.parameters import ConstructParameters
from fusionrun_stages import construct
from fusionrun_stages.construction.keys import ShardSlice
from fusionrun_stages.construction.summary import Summary
from fusionrun_stages.grade import PROMPT_FAULT
from support.construction import FILLER, Answer, R, U, W, build, name, sides


def _decided(shard: Path, parameters: ConstructParameters) -> list[dict]:
    sources = sorted(parameters.sources, key=lambda inputs: inputs.source)
    return construct.decide(ShardSlice(shard), parameters, sources, Summary([])).to_dicts()


def give(folder: Path, cases: list[tuple[Task, list[Answer]]], **options) -> list[tuple]:
    """Return for each case the SFT row's response, the pair's source and responses, and the drop reason."""
    prompts = {name(i): case for i, case in enumerate(cases)}
    made = build(folder, prompts | FILLER, sft_fraction=0.0, **options)
    shard = next((folder / "prompts").iterdir())
    drops = {name(row["prompt"]): row["drop"] for row in _decided(shard, made.parameters)}
    rows = {p: row.messages[-1].content for p, row in made.sft.items()}
    pairs = {p: (pair.source, *sides(pair)) for p, pair in made.pairs.items()}
    return [(rows.get(p), pairs.get(p), drops[p]) for p in prompts]


# sft_fraction is 0 here: the split of the Instruction prompts is tested in test_construct_sets.py.
GOLDEN = [
    ("instruction: highest against lowest of one source", Task.INSTRUCTION,
     [Answer("a", 0, 50), Answer("a", 1, 90), Answer("a", 2, 70)], (None, ("a", "a-1", "a-0"), None)),
    ("instruction: never across sources", Task.INSTRUCTION,
     [Answer("a", 0, 150), Answer("b", 0, 100), Answer("b", 1, 80)], (None, ("b", "b-0", "b-1"), None)),
    ("instruction: the source with the highest chosen score", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("b", 0, 95), Answer("b", 1, 80)],
     (None, ("b", "b-0", "b-1"), None)),
    ("instruction: a source outside of the margin is skipped", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("b", 0, 195), Answer("b", 1, 80)],
     (None, ("a", "a-0", "a-1"), None)),
    ("instruction: equal chosen scores, by source name", Task.INSTRUCTION,
     [Answer("b", 0, 90), Answer("b", 1, 70), Answer("a", 0, 90), Answer("a", 1, 60)],
     (None, ("a", "a-0", "a-1"), None)),
    ("instruction: equal scores, by sample, on both sides", Task.INSTRUCTION,
     [Answer("a", 3, 90), Answer("a", 1, 90), Answer("a", 2, 70), Answer("a", 0, 70)],
     (None, ("a", "a-1", "a-0"), None)),
    ("instruction: the lower bound is included", Task.INSTRUCTION,
     [Answer("a", 0, 120), Answer("a", 1, 110)], (None, ("a", "a-0", "a-1"), None)),
    ("instruction: the upper bound is included", Task.INSTRUCTION,
     [Answer("a", 0, 210), Answer("a", 1, 110)], (None, ("a", "a-0", "a-1"), None)),
    ("instruction: below the margin", Task.INSTRUCTION,
     [Answer("a", 0, 119.999), Answer("a", 1, 110)], (None, None, "MarginBelow")),
    ("instruction: above the margin", Task.INSTRUCTION,
     [Answer("a", 0, 210.001), Answer("a", 1, 110)], (None, None, "MarginAbove")),
    ("instruction: the reason is that of the best refused pair", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 89), Answer("b", 0, 300), Answer("b", 1, 0)], (None, None, "MarginAbove")),
    ("instruction: only the extremes are paired", Task.INSTRUCTION,
     [Answer("a", 0, 300), Answer("a", 1, 250), Answer("a", 2, 0)], (None, None, "MarginAbove")),
    ("instruction: one response per source", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("b", 0, 70)], (None, None, "SingleResponse")),
    ("instruction: a truncated response is not used", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("a", 2, 50), Answer("a", 3, 99, finish="length"),
      Answer("a", 4, 10, finish="length")], (None, ("a", "a-0", "a-2"), None)),
    ("instruction: all truncated", Task.INSTRUCTION,
     [Answer("a", 0, 90, finish="length"), Answer("a", 1, 70, finish="length")], (None, None, "Truncated")),
    ("instruction: all truncated before an answer", Task.INSTRUCTION,
     [Answer("a", 0, None, finish="length", text=""), Answer("a", 1, None, finish="length", text=" ")],
     (None, None, "Truncated")),
    ("instruction: failed requests", Task.INSTRUCTION,
     [Answer("a", 0, None, finish="error"), Answer("b", 0, None, finish="error")], (None, None, "NoResponse")),
    ("instruction: blank responses", Task.INSTRUCTION,
     [Answer("a", 0, 90, text=" \n"), Answer("a", 1, 70, text="")], (None, None, "NoResponse")),
    ("instruction: no responses", Task.INSTRUCTION, [], (None, None, "NoResponse")),
    ("instruction: unscored", Task.INSTRUCTION,
     [Answer("a", 0, None), Answer("a", 1, None)], (None, None, "Unscored")),
    ("instruction: verdicts are ignored", Task.INSTRUCTION,
     [Answer("a", 0, 50, R), Answer("a", 1, 90, W)], (None, ("a", "a-1", "a-0"), None)),
    ("mathematics: highest right against lowest wrong", Task.MATHEMATICS,
     [Answer("a", 0, 80, R), Answer("a", 1, 90, R), Answer("a", 2, 60, W), Answer("a", 3, 50, W)],
     (None, ("a", "a-1", "a-3"), None)),
    ("mathematics: the right response has the lower reward: no pair, so SFT", Task.MATHEMATICS,
     [Answer("a", 0, 50, R), Answer("a", 1, 90, W)], ("a-0", None, None)),
    ("mathematics: right and wrong of different sources: no pair", Task.MATHEMATICS,
     [Answer("a", 0, 80, R), Answer("b", 0, 60, W)], ("a-0", None, None)),
    ("mathematics: no pair, so the best right response of all sources", Task.MATHEMATICS,
     [Answer("b", 0, 95, R), Answer("a", 1, 90, R), Answer("a", 0, 99, U)], ("b-0", None, None)),
    ("mathematics: equal scores, by source name, then sample", Task.MATHEMATICS,
     [Answer("b", 0, 90, R), Answer("a", 2, 90, R), Answer("a", 1, 90, R)], ("a-1", None, None)),
    ("mathematics: equal chosen scores, the pair by source name", Task.MATHEMATICS,
     [Answer("b", 0, 90, R), Answer("b", 1, 60, W), Answer("a", 1, 90, R), Answer("a", 0, 70, W)],
     (None, ("a", "a-1", "a-0"), None)),
    ("mathematics: unknown verdicts are not used", Task.MATHEMATICS,
     [Answer("a", 0, 90, R), Answer("a", 1, 60, U), Answer("a", 2, 99, U)], ("a-0", None, None)),
    ("mathematics: a missing verdict is unknown", Task.MATHEMATICS,
     [Answer("a", 0, 90), Answer("a", 1, 60, W)], (None, None, "NoCorrectResponse")),
    ("mathematics: no right response", Task.MATHEMATICS,
     [Answer("a", 0, 90, W), Answer("a", 1, 60, U)], (None, None, "NoCorrectResponse")),
    ("mathematics: a truncated right response is not used", Task.MATHEMATICS,
     [Answer("a", 0, 90, R, finish="length"), Answer("a", 1, 60, W)], (None, None, "NoCorrectResponse")),
    ("mathematics: the reference answer cannot be parsed", Task.MATHEMATICS,
     [Answer("a", 0, 90, U, detail=PROMPT_FAULT + "x")], (None, None, "UnparsableAnswer")),
    ("mathematics: right, but unscored", Task.MATHEMATICS,
     [Answer("a", 0, None, R), Answer("a", 1, 60, W)], (None, None, "Unscored")),
    ("coding: a row and a pair", Task.CODING,
     [Answer("a", 0, 80, R), Answer("a", 1, 60, W)], ("a-0", ("a", "a-0", "a-1"), None)),
    ("coding: no margin, and the rejected response may score higher", Task.CODING,
     [Answer("a", 0, 50, R), Answer("a", 1, 900, W), Answer("a", 2, 800, W)], ("a-0", ("a", "a-0", "a-2"), None)),
    ("coding: the row may come from another source than the pair", Task.CODING,
     [Answer("a", 0, 80, R), Answer("a", 1, 60, W), Answer("b", 0, 95, R)], ("b-0", ("a", "a-0", "a-1"), None)),
    ("coding: all right", Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 85, R)], ("a-1", None, None)),
    ("coding: none right", Task.CODING,
     [Answer("a", 0, 80, W), Answer("a", 1, 85, W)], (None, None, "NoCorrectResponse")),
    ("SFT only: the response, without verdict and score", Task.SFT_ONLY,
     [Answer("a", 0, None)], ("a-0", None, None)),
    ("SFT only: the first by source name, then sample", Task.SFT_ONLY,
     [Answer("b", 0, 99), Answer("a", 2, 10), Answer("a", 1, 5)], ("a-1", None, None)),
    ("SFT only: truncated", Task.SFT_ONLY, [Answer("a", 0, None, finish="length")], (None, None, "Truncated")),
]  # fmt: skip


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return give(tmp_path_factory.mktemp("golden"), [(case[1], case[2]) for case in GOLDEN])


@pytest.mark.parametrize("number", range(len(GOLDEN)), ids=[case[0] for case in GOLDEN])
def test_a_prompt_gives_the_row_the_pair_or_the_drop(golden, number):
    assert golden[number] == GOLDEN[number][3]


def test_equal_scores_pair_two_different_responses(tmp_path):
    answers = [Answer("a", 0, 90), Answer("a", 1, 90), Answer("a", 2, 90)]
    assert give(tmp_path, [(Task.INSTRUCTION, answers)], margin=(0.0, 0.1)) == [(None, ("a", "a-0", "a-1"), None)]


def test_the_reasons_without_a_pair_are_counted_separately(tmp_path):
    made = build(
        tmp_path,
        {
            name(1): (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 85, R)]),
            name(2): (Task.CODING, [Answer("a", 0, 80, R), Answer("b", 1, 85, W)]),
            name(3): (Task.MATHEMATICS, [Answer("a", 0, 80, R), Answer("a", 1, 79, W)]),
        },
    )
    assert made.made.details["no_pair_by_task"] == {
        "Coding": {"AllCorrect": 1, "NoSameSource": 1},
        "Mathematics": {"MarginBelow": 1},
    }
