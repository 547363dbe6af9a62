"""Construction: hand-worked cases for every rule and every tie, and what must hold for any responses."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionrun.api.artifacts import shard_name
from fusionrun.api.data import RewardMargin, Task
from fusionrun.api.parameters import ConstructParameters, SourceInputs
from fusionrun.api.records import (
    PreferencePair,
    Prompt,
    Response,
    Score,
    SftExample,
    Verdict,
    VerdictValue,
)
from fusionrun.api.task import StageTask
from fusionrun_stages import construct
from fusionrun_stages.construction.keys import Part, parts_of
from fusionrun_stages.construction.split import hold_out, take
from fusionrun_stages.construction.summary import Summary
from fusionrun_stages.errors import UserError
from fusionrun_stages.graders import PROMPT_FAULT
from fusionrun_stages.shards import read_rows, write_rows
from fusionrun_stages.work import Made, Work

R, W, U = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN


@dataclass
class Answer:
    """One response: who, which sample, score in thousandths (None: unscored), verdict, how it ended."""

    source: str
    sample: int
    milli: float | None
    verdict: VerdictValue | None = None
    finish: str = "stop"
    detail: str = ""
    text: str | None = None


@dataclass
class Outcome:
    """What a case gave, by prompt."""

    sft: dict[str, SftExample]
    pairs: dict[str, PreferencePair]
    held_out: dict[str, PreferencePair]
    made: Made
    parameters: ConstructParameters
    files: dict[str, bytes] = field(repr=False, default_factory=dict)


def name(number: int) -> str:
    return f"{number:016x}"


def build(
    folder: Path,
    prompts: dict[str, tuple[Task, list[Answer]]],
    *,
    sft_fraction: float = 0.4,
    held_out: float = 0.0,
    shards: int = 1,
    margin: tuple[float, float] = (0.01, 0.1),
    prepared: dict[str, int] | None = None,
    seed: int = 42,
    solutions: dict[str, VerdictValue] | None = None,
) -> Outcome:
    """Write the inputs of a case, run construct on them, and read what it made."""
    sources = sorted({a.source for _, answers in prompts.values() for a in answers} | {"a"})
    placed = {prompt: i % shards for i, prompt in enumerate(prompts)}
    for shard in range(shards):
        if solutions is not None:
            judged = [
                Verdict(prompt_id=p, source="solutions", sample_index=0, verdict=v)
                for p, v in solutions.items()
                if placed[p] == shard
            ]
            write_rows(folder / "solutions" / (shard_name(shard, shards) + ".parquet"), Verdict, judged)
        own = {p: v for p, v in prompts.items() if placed[p] == shard}
        file = shard_name(shard, shards) + ".parquet"
        write_rows(
            folder / "prompts" / file,
            Prompt,
            [Prompt(prompt_id=p, dataset=str(t).lower(), task=str(t), prompt=f"ask {p}") for p, (t, _) in own.items()],
        )
        for source in sources:
            mine = [(p, t, a) for p, (t, answers) in own.items() for a in answers if a.source == source]
            key = [{"prompt_id": p, "source": source, "sample_index": a.sample} for p, _, a in mine]
            write_rows(
                folder / "responses" / source / file,
                Response,
                [
                    Response(
                        **k,
                        dataset=str(t).lower(),
                        text=f"{source}-{a.sample}" if a.text is None else a.text,
                        finish_reason=a.finish,
                    )
                    for k, (_, t, a) in zip(key, mine, strict=True)
                ],
            )
            write_rows(
                folder / "scores" / source / file,
                Score,
                [
                    Score(**k, score_micro=round(a.milli * 1000))
                    for k, (_, _, a) in zip(key, mine, strict=True)
                    if a.milli is not None
                ],
            )
            write_rows(
                folder / "verdicts" / source / file,
                Verdict,
                [
                    Verdict(**k, verdict=a.verdict, detail=a.detail)
                    for k, (_, _, a) in zip(key, mine, strict=True)
                    if a.verdict
                ],
            )
    (folder / "prepare.json").write_text(json.dumps({"counts": prepared or {}}))
    output = folder / "out"
    output.mkdir(exist_ok=True)
    task = StageTask(
        run="r",
        namespace="n",
        stage="construct",
        digest="d",
        output_dir=str(output),
        parameters=ConstructParameters(
            prompts_dir=str(folder / "prompts"),
            prepare_manifest=str(folder / "prepare.json"),
            solutions_verdicts_dir=None if solutions is None else str(folder / "solutions"),
            tasks={str(t).lower(): t for t, _ in prompts.values()},
            sources=[
                SourceInputs(
                    source=s,
                    responses_dir=str(folder / "responses" / s),
                    verdicts_dirs=[str(folder / "verdicts" / s)],
                    scores_dir=str(folder / "scores" / s),
                )
                for s in reversed(sources)
            ],
            reward_margin=RewardMargin(min=margin[0], max=margin[1]),
            sft_fraction=sft_fraction,
            held_out_fraction=held_out,
            seed=seed,
        ),
    )
    made = construct.run(Work(task, output, None, "uid", lambda *_, **__: None))
    files = {f: (output / f).read_bytes() for f in made.files}
    assert sorted(p.name for p in output.iterdir()) == sorted(made.files)
    return Outcome(
        {row.prompt_id: row for row in read_rows(output / "sft.parquet", SftExample)},
        {row.prompt_id: row for row in read_rows(output / "pairs.parquet", PreferencePair)},
        {row.prompt_id: row for row in read_rows(output / "held-out.parquet", PreferencePair)},
        made,
        task.parameters,
        files,
    )


def sides(pair: PreferencePair) -> tuple[str, str]:
    return pair.chosen[0].content, pair.rejected[0].content


FILLER = {name(0xFFFF): (Task.SFT_ONLY, [Answer("a", 0, None)])}
"""A prompt that gives an SFT row, so that a case about pairs or drops alone is not an empty set."""


def _decided(shard: Path, parameters: ConstructParameters) -> list[dict]:
    return construct._decide(Part(shard), parameters, Summary([])).to_dicts()


def give(folder: Path, cases: list[tuple[Task, list[Answer]]], **options) -> list[tuple]:
    """Give what each case's prompt gave: the SFT row's answer, the pair's source and answers, the drop's reason."""
    prompts = {name(i): case for i, case in enumerate(cases)}
    made = build(folder, prompts | FILLER, sft_fraction=0.0, **options)
    shard = next((folder / "prompts").iterdir())
    drops = {name(row["prompt"]): row["drop"] for row in _decided(shard, made.parameters)}
    rows = {p: row.messages[-1].content for p, row in made.sft.items()}
    pairs = {p: (pair.source, *sides(pair)) for p, pair in made.pairs.items()}
    return [(rows.get(p), pairs.get(p), drops[p]) for p in prompts]


@pytest.fixture(scope="module", autouse=True)
def _no_fsync():
    """Nobody pulls the plug on these files, and a busy disk would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


# No share of the Instruction prompts goes to SFT here: their split has tests of its own.
GOLDEN = [
    ("instruction: highest against lowest of one source", Task.INSTRUCTION,
     [Answer("a", 0, 50), Answer("a", 1, 90), Answer("a", 2, 70)], (None, ("a", "a-1", "a-0"), None)),
    ("instruction: never across sources", Task.INSTRUCTION,
     [Answer("a", 0, 150), Answer("b", 0, 100), Answer("b", 1, 80)], (None, ("b", "b-0", "b-1"), None)),
    ("instruction: the source with the highest chosen score", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("b", 0, 95), Answer("b", 1, 80)],
     (None, ("b", "b-0", "b-1"), None)),
    ("instruction: a source outside of the window gives way", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("b", 0, 195), Answer("b", 1, 80)],
     (None, ("a", "a-0", "a-1"), None)),
    ("instruction: equal chosen scores, by source name", Task.INSTRUCTION,
     [Answer("b", 0, 90), Answer("b", 1, 70), Answer("a", 0, 90), Answer("a", 1, 60)],
     (None, ("a", "a-0", "a-1"), None)),
    ("instruction: equal scores, by sample, on both sides", Task.INSTRUCTION,
     [Answer("a", 3, 90), Answer("a", 1, 90), Answer("a", 2, 70), Answer("a", 0, 70)],
     (None, ("a", "a-1", "a-0"), None)),
    ("instruction: the window's lower end is in", Task.INSTRUCTION,
     [Answer("a", 0, 120), Answer("a", 1, 110)], (None, ("a", "a-0", "a-1"), None)),
    ("instruction: the window's upper end is in", Task.INSTRUCTION,
     [Answer("a", 0, 210), Answer("a", 1, 110)], (None, ("a", "a-0", "a-1"), None)),
    ("instruction: just below", Task.INSTRUCTION,
     [Answer("a", 0, 119.999), Answer("a", 1, 110)], (None, None, "MarginBelow")),
    ("instruction: just above", Task.INSTRUCTION,
     [Answer("a", 0, 210.001), Answer("a", 1, 110)], (None, None, "MarginAbove")),
    ("instruction: the reason is that of the best refused pair", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 89), Answer("b", 0, 300), Answer("b", 1, 0)], (None, None, "MarginAbove")),
    ("instruction: only the extremes are paired", Task.INSTRUCTION,
     [Answer("a", 0, 300), Answer("a", 1, 250), Answer("a", 2, 0)], (None, None, "MarginAbove")),
    ("instruction: one response per source", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("b", 0, 70)], (None, None, "SingleResponse")),
    ("instruction: a cut response is on neither side", Task.INSTRUCTION,
     [Answer("a", 0, 90), Answer("a", 1, 70), Answer("a", 2, 50), Answer("a", 3, 99, finish="length"),
      Answer("a", 4, 10, finish="length")], (None, ("a", "a-0", "a-2"), None)),
    ("instruction: all cut", Task.INSTRUCTION,
     [Answer("a", 0, 90, finish="length"), Answer("a", 1, 70, finish="length")], (None, None, "Truncated")),
    ("instruction: a failed request is no response", Task.INSTRUCTION,
     [Answer("a", 0, None, finish="error"), Answer("b", 0, None, finish="error")], (None, None, "NoResponse")),
    ("instruction: a blank response is none", Task.INSTRUCTION,
     [Answer("a", 0, 90, text=" \n"), Answer("a", 1, 70, text="")], (None, None, "NoResponse")),
    ("instruction: nobody answered", Task.INSTRUCTION, [], (None, None, "NoResponse")),
    ("instruction: unscored", Task.INSTRUCTION,
     [Answer("a", 0, None), Answer("a", 1, None)], (None, None, "Unscored")),
    ("instruction: verdicts are not asked", Task.INSTRUCTION,
     [Answer("a", 0, 50, R), Answer("a", 1, 90, W)], (None, ("a", "a-1", "a-0"), None)),
    ("mathematics: highest right against lowest wrong", Task.MATHEMATICS,
     [Answer("a", 0, 80, R), Answer("a", 1, 90, R), Answer("a", 2, 60, W), Answer("a", 3, 50, W)],
     (None, ("a", "a-1", "a-3"), None)),
    ("mathematics: right below wrong in reward is outside of the window, so SFT", Task.MATHEMATICS,
     [Answer("a", 0, 50, R), Answer("a", 1, 90, W)], ("a-0", None, None)),
    ("mathematics: right and wrong of different sources are no pair", Task.MATHEMATICS,
     [Answer("a", 0, 80, R), Answer("b", 0, 60, W)], ("a-0", None, None)),
    ("mathematics: no pair, so the best right response of all sources", Task.MATHEMATICS,
     [Answer("b", 0, 95, R), Answer("a", 1, 90, R), Answer("a", 0, 99, U)], ("b-0", None, None)),
    ("mathematics: equal scores, by source name, then sample", Task.MATHEMATICS,
     [Answer("b", 0, 90, R), Answer("a", 2, 90, R), Answer("a", 1, 90, R)], ("a-1", None, None)),
    ("mathematics: equal chosen scores, the pair by source name", Task.MATHEMATICS,
     [Answer("b", 0, 90, R), Answer("b", 1, 60, W), Answer("a", 1, 90, R), Answer("a", 0, 70, W)],
     (None, ("a", "a-1", "a-0"), None)),
    ("mathematics: unknown is on neither side", Task.MATHEMATICS,
     [Answer("a", 0, 90, R), Answer("a", 1, 60, U), Answer("a", 2, 99, U)], ("a-0", None, None)),
    ("mathematics: no verdict is unknown", Task.MATHEMATICS,
     [Answer("a", 0, 90), Answer("a", 1, 60, W)], (None, None, "NoCorrectResponse")),
    ("mathematics: nobody was right", Task.MATHEMATICS,
     [Answer("a", 0, 90, W), Answer("a", 1, 60, U)], (None, None, "NoCorrectResponse")),
    ("mathematics: a cut right response does not count", Task.MATHEMATICS,
     [Answer("a", 0, 90, R, finish="length"), Answer("a", 1, 60, W)], (None, None, "NoCorrectResponse")),
    ("mathematics: the gold answer cannot be parsed", Task.MATHEMATICS,
     [Answer("a", 0, 90, U, detail=PROMPT_FAULT + "x")], (None, None, "UnparsableAnswer")),
    ("mathematics: right, but unscored", Task.MATHEMATICS,
     [Answer("a", 0, None, R), Answer("a", 1, 60, W)], (None, None, "Unscored")),
    ("coding: a row and a pair", Task.CODING,
     [Answer("a", 0, 80, R), Answer("a", 1, 60, W)], ("a-0", ("a", "a-0", "a-1"), None)),
    ("coding: no window, not even an order", Task.CODING,
     [Answer("a", 0, 50, R), Answer("a", 1, 900, W), Answer("a", 2, 800, W)], ("a-0", ("a", "a-0", "a-2"), None)),
    ("coding: the row may come from another source than the pair", Task.CODING,
     [Answer("a", 0, 80, R), Answer("a", 1, 60, W), Answer("b", 0, 95, R)], ("b-0", ("a", "a-0", "a-1"), None)),
    ("coding: all pass", Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 85, R)], ("a-1", None, None)),
    ("coding: none passes", Task.CODING,
     [Answer("a", 0, 80, W), Answer("a", 1, 85, W)], (None, None, "NoCorrectResponse")),
    ("SFT only: the response, unjudged and unscored", Task.SFT_ONLY,
     [Answer("a", 0, None)], ("a-0", None, None)),
    ("SFT only: the first by source name, then sample", Task.SFT_ONLY,
     [Answer("b", 0, 99), Answer("a", 2, 10), Answer("a", 1, 5)], ("a-1", None, None)),
    ("SFT only: cut", Task.SFT_ONLY, [Answer("a", 0, None, finish="length")], (None, None, "Truncated")),
]  # fmt: skip


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return give(tmp_path_factory.mktemp("golden"), [(case[1], case[2]) for case in GOLDEN])


@pytest.mark.parametrize("number", range(len(GOLDEN)), ids=[case[0] for case in GOLDEN])
def test_golden_case(golden, number):
    assert golden[number] == GOLDEN[number][3]


def test_no_response_is_its_own_rival_when_all_scores_are_equal(tmp_path):
    answers = [Answer("a", 0, 90), Answer("a", 1, 90), Answer("a", 2, 90)]
    assert give(tmp_path, [(Task.INSTRUCTION, answers)], margin=(0.0, 0.1)) == [(None, ("a", "a-0", "a-1"), None)]


def test_reasons_without_a_pair_are_told_apart(tmp_path):
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


def instruction_prompts(count: int) -> dict[str, tuple[Task, list[Answer]]]:
    return {name(7919 * i): (Task.INSTRUCTION, [Answer("a", 0, 90), Answer("a", 1, 70)]) for i in range(count)}


def test_instruction_split_is_four_to_six_after_the_margin_filter(tmp_path):
    refused = {name(10**9 + i): (Task.INSTRUCTION, [Answer("a", 0, 90), Answer("a", 1, 89)]) for i in range(7)}
    made = build(tmp_path, instruction_prompts(14) | refused)
    assert (len(made.sft), len(made.pairs)) == (5, 9)  # floor(0.4 * 14) = 5
    assert not made.sft.keys() & made.pairs.keys()
    assert made.made.counts["drop:MarginBelow"] == 7


@pytest.mark.parametrize(
    ("total", "sft"), [(51098, 20439), (20374, 8149), (9435, 3774)], ids=["UltraFeedback", "Magpie", "HelpSteer2"]
)
def test_split_gives_the_published_counts(total, sft):
    assert len(take([name(i) for i in range(total)], 0.4, 42, "sft")) == sft


def test_split_reads_the_fraction_as_the_decimal_that_was_written():
    assert len(take([name(i) for i in range(100)], 0.29, 1, "sft")) == 29


def test_split_does_not_depend_on_the_order_but_on_the_seed():
    names = [name(i) for i in range(50)]
    assert take(names, 0.4, 1, "sft") == take(names[::-1], 0.4, 1, "sft") != take(names, 0.4, 2, "sft")


@pytest.mark.parametrize(("pairs", "fraction", "held"), [(100, 0.02, 2), (10, 0.02, 1), (1, 0.02, 0), (10, 0, 0)])
def test_held_out_takes_the_floor_but_one_at_least_of_two(pairs, fraction, held):
    assert len(hold_out([name(i) for i in range(pairs)], fraction, 3)) == held


def test_held_out_pairs_are_not_trained_on(tmp_path):
    made = build(tmp_path, instruction_prompts(20), held_out=0.25)
    assert (len(made.sft), len(made.pairs), len(made.held_out)) == (8, 9, 3)
    assert not made.pairs.keys() & made.held_out.keys()
    assert made.made.counts == {"sft_rows": 8, "pairs": 9, "held_out_pairs": 3, "sft:a": 8, "pairs:a": 9}


def test_a_coding_prompt_whose_pair_is_held_out_gives_no_sft_row(tmp_path):
    prompts = {name(i): (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)]) for i in range(1, 21)}
    made = build(tmp_path, prompts | instruction_prompts(10), held_out=0.25)
    held = [prompt for prompt, row in made.held_out.items() if row.dataset == "coding"]
    assert held
    assert not made.sft.keys() & made.held_out.keys()
    # The other splits are what they are without it.
    assert made.made.counts["sft_rows"] == len(made.sft) == 20 - len(held) + 4
    assert len(made.pairs) + len(made.held_out) == 20 + 6


def test_rows_are_what_trl_reads(tmp_path):
    made = build(tmp_path, {name(5): (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)])})
    row = made.sft[name(5)]
    assert [(m.role, m.content) for m in row.messages] == [("user", f"ask {name(5)}"), ("assistant", "a-0")]
    pair = made.pairs[name(5)]
    assert [(m.role, m.content) for m in pair.prompt] == [("user", f"ask {name(5)}")]
    assert sides(pair) == ("a-0", "a-1")
    assert (pair.chosen_score_micro, pair.rejected_score_micro, pair.dataset) == (80_000, 60_000, "coding")


def test_what_prepare_dropped_is_counted(tmp_path):
    prepared = {
        "prompts": 1, "duplicates": 3, "near_duplicates": 5, "code": 4, "mathematics": 0, "contaminated": 2,
        "over_limit": 6, "bad_rows": 7,
    }  # fmt: skip
    counts = build(tmp_path, FILLER, prepared=prepared).made.counts
    dropped = {"Duplicate": 3, "NearDuplicate": 5, "Code": 4, "Contaminated": 2, "OverLimit": 6, "BadRow": 7}
    assert {reason: counts.get(f"drop:{reason}") for reason in dropped} == dropped
    assert "drop:Mathematics" not in counts


def test_a_prompt_whose_own_solution_fails_gives_nothing_whoever_answered_it(tmp_path):
    pair = (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)])
    solutions = {name(0): R, name(1): W, name(2): U}  # and none of name(3)
    made = build(tmp_path, {name(n): pair for n in range(4)}, shards=2, solutions=solutions)
    assert made.sft.keys() == made.pairs.keys() == {name(0), name(3)}
    assert made.made.counts["drop:SolutionFailed"] == 2
    assert made.made.details["no_pair_by_task"] == {}


def test_an_empty_set_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match="NoResponse"):
        build(tmp_path, {name(1): (Task.INSTRUCTION, [])})


def test_bytes_do_not_depend_on_shards_or_ranges(tmp_path, monkeypatch):
    prompts = instruction_prompts(40) | {
        name(31 * i + 7): (Task.CODING, [Answer("a", 0, 80, R), Answer("b", 1, 60, W), Answer("b", 2, 50, R)])
        for i in range(30)
    }
    whole = build(tmp_path / "one", prompts)
    parted = build(tmp_path / "five", dict(reversed(prompts.items())), shards=5)
    again = build(tmp_path / "again", prompts)
    assert whole.files == parted.files == again.files
    monkeypatch.setattr("fusionrun_stages.construction.rows.RANGE_ROWS", 7)
    ranged = build(tmp_path / "ranged", prompts)
    assert ranged.files["summary.json"] == whole.files["summary.json"]
    for file in construct.FILES.values():
        table = pq.read_table(tmp_path / "ranged" / "out" / file)
        assert table.equals(pq.read_table(tmp_path / "one" / "out" / file))
        assert table["prompt_id"].to_pylist() == sorted(table["prompt_id"].to_pylist())
    assert ranged.made.counts == whole.made.counts


def test_bytes_do_not_depend_on_the_parts_of_a_shard(tmp_path, monkeypatch):
    prompts = instruction_prompts(25) | {
        name(31 * i + 7): (Task.CODING, [Answer("a", 0, 80, R), Answer("b", 1, 60, W), Answer("b", 2, 50, R)])
        for i in range(18)
    }
    whole = build(tmp_path / "whole", prompts, shards=2, held_out=0.1)
    seen: list[int] = []
    decide = construct._decide
    monkeypatch.setattr(construct, "_decide", lambda *given: seen.append(1) or decide(*given))
    monkeypatch.setattr("fusionrun_stages.construction.keys.PART_RESPONSES", 10)
    parted = build(tmp_path / "parted", prompts, shards=2, held_out=0.1)
    assert len(seen) == 6 + 6  # 53 and 51 responses, about 10 at once
    assert parted.files == whole.files
    assert parted.made == whole.made


def test_every_prompt_of_a_shard_is_in_one_part(tmp_path, monkeypatch):
    made = build(tmp_path, instruction_prompts(23) | FILLER)
    shard = next((tmp_path / "prompts").iterdir())
    monkeypatch.setattr("fusionrun_stages.construction.keys.PART_RESPONSES", 7)
    found = [
        prompt
        for part in parts_of(shard, made.parameters.sources)
        for prompt in part.scan(shard).collect()["prompt_id"].to_list()
    ]
    assert len(parts_of(shard, made.parameters.sources)) == 7
    assert sorted(found) == sorted(pl.read_parquet(shard)["prompt_id"])


answers = st.builds(
    Answer,
    source=st.sampled_from(["a", "b", "c"]),
    sample=st.integers(0, 3),
    milli=st.one_of(st.none(), st.sampled_from([0, 10, 20, 60, 100, 110, 200])),
    verdict=st.sampled_from([R, W, U, None]),
    finish=st.sampled_from(["stop", "stop", "stop", "length", "error"]),
)
worlds = st.lists(
    st.tuples(st.sampled_from(list(Task)), st.lists(answers, max_size=8, unique_by=lambda a: (a.source, a.sample))),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds, shards=st.integers(1, 3), held_out=st.sampled_from([0.0, 0.3]))
def test_what_holds_for_any_responses(tmp_path_factory, world, shards, held_out):
    prompts = {name(i): value for i, value in enumerate(world)} | FILLER
    made = build(tmp_path_factory.mktemp("world"), prompts, shards=shards, held_out=held_out)
    pairs = made.pairs | made.held_out
    dropped = sum(count for key, count in made.made.counts.items() if key.startswith("drop:"))
    assert not (made.pairs | made.sft).keys() & made.held_out.keys()
    assert len(made.sft.keys() | pairs.keys()) + dropped == len(prompts)
    for prompt in made.sft.keys() & pairs.keys():
        assert prompts[prompt][0] is Task.CODING
    for prompt, pair in pairs.items():
        task, given_answers = prompts[prompt]
        by_text = {f"{a.source}-{a.sample}": a for a in given_answers}
        chosen, rejected = (by_text[text] for text in sides(pair))
        assert chosen.source == rejected.source == pair.source
        assert chosen.sample != rejected.sample
        assert chosen.finish == rejected.finish == "stop"
        assert (pair.chosen_score_micro, pair.rejected_score_micro) == (chosen.milli * 1000, rejected.milli * 1000)
        if task is not Task.CODING:
            assert 10 <= chosen.milli - rejected.milli <= 100
        if task is not Task.INSTRUCTION:
            assert (chosen.verdict, rejected.verdict) == (R, W)
    for prompt, row in made.sft.items():
        task, given_answers = prompts[prompt]
        answer = next(a for a in given_answers if f"{a.source}-{a.sample}" == row.messages[-1].content)
        assert answer.finish == "stop"
        if task in (Task.MATHEMATICS, Task.CODING):
            assert answer.verdict is R
