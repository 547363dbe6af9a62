"""Construction: splits, counts, bytes, and properties for arbitrary responses."""

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionrun.api.records import Message, PreferencePair, Prompt, SftExample
from fusionrun.api.results.values import DatasetCounts, SourceCounts
from fusionrun.api.spec.data import Task
from fusionrun_stages import construct
from fusionrun_stages.construction.files import FILES
from fusionrun_stages.construction.split import hold_out, keep, take
from fusionrun_stages.errors import UserError
from fusionrun_stages.volume.parquet import read_rows, write_rows
from support.construction import FILLER, Answer, R, U, W, build, name, sides
from support.stage import make_work


def instruction_prompts(count: int) -> dict[str, tuple[Task, list[Answer]]]:
    return {name(7919 * i): (Task.INSTRUCTION, [Answer("a", 0, 90), Answer("a", 1, 70)]) for i in range(count)}


def test_the_instruction_split_is_made_after_the_margin_filter(tmp_path):
    refused = {name(10**9 + i): (Task.INSTRUCTION, [Answer("a", 0, 90), Answer("a", 1, 89)]) for i in range(7)}
    made = build(tmp_path, instruction_prompts(14) | refused)
    assert (len(made.sft), len(made.pairs)) == (5, 9)  # floor(0.4 * 14) = 5
    assert not made.sft.keys() & made.pairs.keys()
    assert made.made.values.drops["MarginBelow"] == 7


@pytest.mark.parametrize(
    ("total", "fraction", "sft"),
    [(51098, 0.4, 20439), (20374, 0.4, 8149), (9435, 0.4, 3774), (100, 0.29, 29)],
    ids=["UltraFeedback", "Magpie", "HelpSteer2", "the fraction is a decimal"],
)
def test_the_split_gives_the_published_counts(total, fraction, sft):
    assert len(take([name(i) for i in range(total)], fraction, 42, "sft")) == sft


def test_the_split_depends_on_the_seed_and_not_on_the_order():
    names = [name(i) for i in range(50)]
    assert take(names, 0.4, 1, "sft") == take(names[::-1], 0.4, 1, "sft") != take(names, 0.4, 2, "sft")


@pytest.mark.parametrize(("pairs", "fraction", "held"), [(100, 0.02, 2), (10, 0.02, 1), (1, 0.02, 0), (10, 0, 0)])
def test_at_least_one_of_two_pairs_is_held_out(pairs, fraction, held):
    assert len(hold_out([name(i) for i in range(pairs)], fraction, 3)) == held


def test_held_out_pairs_are_not_trained_on(tmp_path):
    made = build(tmp_path, instruction_prompts(20), held_out=0.25)
    assert (len(made.sft), len(made.pairs), len(made.held_out)) == (8, 9, 3)
    assert not made.pairs.keys() & made.held_out.keys()
    counts = made.made.values
    assert (counts.sft_rows, counts.pairs, counts.held_out_pairs) == (8, 9, 3)
    assert counts.by_source == {"a": SourceCounts(sft_rows=8, pairs=9)}
    assert counts.by_dataset == {"instruction": DatasetCounts(sft_rows=8, pairs=12)}
    assert counts.drops == {}


def test_a_coding_prompt_whose_pair_is_held_out_gives_no_sft_row(tmp_path):
    prompts = {name(i): (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)]) for i in range(1, 21)}
    made = build(tmp_path, prompts | instruction_prompts(10), held_out=0.25)
    held = [prompt for prompt, row in made.held_out.items() if row.dataset == "coding"]
    assert held
    assert not made.sft.keys() & made.held_out.keys()
    # The other draws do not change.
    assert made.made.values.sft_rows == len(made.sft) == 20 - len(held) + 4
    assert len(made.pairs) + len(made.held_out) == 20 + 6


def test_rows_have_the_format_of_trl(tmp_path):
    made = build(tmp_path, {name(5): (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)])})
    row = made.sft[name(5)]
    assert [(m.role, m.content) for m in row.messages] == [("user", f"ask {name(5)}"), ("assistant", "a-0")]
    pair = made.pairs[name(5)]
    assert [(m.role, m.content) for m in pair.prompt] == [("user", f"ask {name(5)}")]
    assert sides(pair) == ("a-0", "a-1")
    assert (pair.chosen_score_micro, pair.rejected_score_micro, pair.dataset) == (80_000, 60_000, "coding")


def test_drops_of_prepare_are_counted(tmp_path):
    prepared = {"prompts": 1, "duplicates": 3, "contaminated": 2, "mathematics": 0}
    drops = build(tmp_path, FILLER, prepared=prepared).made.values.drops
    assert (drops["Duplicate"], drops["Contaminated"], "Mathematics" in drops) == (3, 2, False)


def test_a_prompt_whose_reference_solution_fails_is_dropped(tmp_path):
    pair = (Task.CODING, [Answer("a", 0, 80, R), Answer("a", 1, 60, W)])
    solutions = {name(0): R, name(1): W, name(2): U}  # and none of name(3)
    made = build(tmp_path, {name(n): pair for n in range(4)}, shards=2, solutions=solutions)
    assert made.sft.keys() == made.pairs.keys() == {name(0), name(3)}
    assert made.made.values.drops["SolutionFailed"] == 2
    assert made.made.details["no_pair_by_task"] == {}


def test_no_sft_rows_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="NoResponse"):
        build(tmp_path, {name(1): (Task.INSTRUCTION, [])})


def mixed_prompts(instruction: int, coding: int) -> dict[str, tuple[Task, list[Answer]]]:
    answers = [Answer("a", 0, 80, R), Answer("b", 1, 60, W), Answer("b", 2, 50, R)]
    return instruction_prompts(instruction) | {name(31 * i + 7): (Task.CODING, answers) for i in range(coding)}


def test_bytes_do_not_depend_on_shards_or_ranges(tmp_path, monkeypatch):
    prompts = mixed_prompts(40, 30)
    whole = build(tmp_path / "one", prompts)
    parted = build(tmp_path / "five", dict(reversed(prompts.items())), shards=5)
    assert whole.files == parted.files == build(tmp_path / "again", prompts).files
    monkeypatch.setattr("fusionrun_stages.construction.rows.RANGE_ROWS", 7)
    ranged = build(tmp_path / "ranged", prompts)
    assert ranged.files["summary.json"] == whole.files["summary.json"]
    for file in FILES.values():
        table = pq.read_table(tmp_path / "ranged" / "out" / file)
        assert table.equals(pq.read_table(tmp_path / "one" / "out" / file))
        assert table["prompt_id"].to_pylist() == sorted(table["prompt_id"].to_pylist())
    assert ranged.made.values == whole.made.values


def test_bytes_do_not_depend_on_the_slices_of_a_shard(tmp_path, monkeypatch):
    prompts = mixed_prompts(25, 18)
    whole = build(tmp_path / "whole", prompts, shards=2, held_out=0.1)
    seen: list[int] = []
    decide = construct.decide
    monkeypatch.setattr(construct, "decide", lambda *given: seen.append(1) or decide(*given))
    monkeypatch.setattr("fusionrun_stages.construction.keys.SLICE_RESPONSES", 10)
    parted = build(tmp_path / "parted", prompts, shards=2, held_out=0.1)
    assert len(seen) == 6 + 6  # 53 and 51 responses, about 10 at once
    assert (parted.files, parted.made) == (whole.files, whole.made)


RIGHT_OVER_WRONG = [Answer("a", 0, 80, R), Answer("a", 1, 60, W)]
RIGHT = [Answer("a", 0, 80, R)]
BOUNDED = [
    # Task, responses of the prompts in turn, bound; of 12 prompts: SFT rows, pairs, prompts dropped for the bound.
    (Task.INSTRUCTION, [[Answer("a", 0, 90), Answer("a", 1, 70)]], 5, (2, 3, 7)),
    (Task.INSTRUCTION, [[Answer("a", 0, 90), Answer("a", 1, 70)]], 12, (4, 8, 0)),
    (Task.MATHEMATICS, [RIGHT_OVER_WRONG], 5, (0, 5, 7)),
    (Task.MATHEMATICS, [RIGHT], 5, (5, 0, 7)),
    (Task.CODING, [RIGHT_OVER_WRONG], 6, (3, 3, 9)),
    (Task.CODING, [RIGHT_OVER_WRONG], 7, (3, 3, 9)),  # the last place is not enough for both
    (Task.CODING, [RIGHT], 5, (5, 0, 7)),
    (Task.SFT_ONLY, [[Answer("a", 0, None)]], 5, (5, 0, 7)),
    (Task.SFT_ONLY, [[Answer("a", 0, None)], []], 5, (5, 0, 1)),  # a prompt with another drop reason is not counted
]


@pytest.mark.parametrize(
    ("task", "answered", "limit", "expected"), BOUNDED, ids=[f"{case[0]}-{n}" for n, case in enumerate(BOUNDED)]
)
def test_a_data_set_gives_at_most_max_kept(tmp_path, task, answered, limit, expected):
    prompts = {name(7919 * i + 1): (task, answered[i % len(answered)]) for i in range(12)}
    filler = {} if task is Task.SFT_ONLY else FILLER
    made = build(tmp_path, prompts | filler, max_kept={str(task).lower(): limit})
    sft, dropped = made.sft.keys() - filler.keys(), made.made.values.drops.get("OverMaxKept", 0)
    assert (len(sft), len(made.pairs), dropped) == expected
    assert made.made.details["drops_by_dataset"].get(str(task).lower(), {}).get("OverMaxKept", 0) == dropped
    assert made.made.values.by_dataset[str(task).lower()].sft_rows == len(sft)


def test_max_kept_depends_on_the_seed_and_not_on_shards(tmp_path, monkeypatch):
    prompts = instruction_prompts(30)
    one = build(tmp_path / "one", prompts, max_kept={"instruction": 9})
    parted = build(tmp_path / "parted", dict(reversed(prompts.items())), shards=4, max_kept={"instruction": 9})
    other = build(tmp_path / "other", prompts, max_kept={"instruction": 9}, seed=7)
    kept = one.sft.keys() | one.pairs.keys()
    assert one.files == parted.files
    assert kept != other.sft.keys() | other.pairs.keys()
    assert kept != set(sorted(prompts)[:9])
    # The two draws are independent: which prompts are kept, and which of them go to SFT.
    assert one.sft.keys() != set(keep(sorted(kept), [1] * 9, 3, 42))


def test_held_out_pairs_count_towards_max_kept(tmp_path):
    made = build(tmp_path, instruction_prompts(40), held_out=0.25, max_kept={"instruction": 20})
    assert (len(made.sft), len(made.pairs), len(made.held_out)) == (8, 9, 3)


def test_prompts_over_max_kept_have_no_reason_without_a_pair(tmp_path):
    prompts = {name(i + 1): (Task.MATHEMATICS, RIGHT) for i in range(6)}
    made = build(tmp_path, prompts, max_kept={"mathematics": 2})
    assert made.made.details["no_pair_by_task"] == {"Mathematics": {"AllCorrect": 2}}


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
def test_properties_of_arbitrary_responses(tmp_path_factory, world, shards, held_out):
    prompts = {name(i): value for i, value in enumerate(world)} | FILLER
    made = build(tmp_path_factory.mktemp("world"), prompts, shards=shards, held_out=held_out)
    pairs = made.pairs | made.held_out
    dropped = sum(made.made.values.drops.values())
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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds, shards=st.integers(1, 3), limits=st.lists(st.integers(1, 6), min_size=4, max_size=4))
def test_properties_of_max_kept(tmp_path_factory, world, shards, limits):
    """The bound is kept and used up, except for one place that a Coding prompt cannot use."""
    prompts = {name(i): value for i, value in enumerate(world)} | FILLER
    bounds = {str(task).lower(): limit for task, limit in zip(Task, limits, strict=True)}
    whole = build(tmp_path_factory.mktemp("whole"), prompts)
    made = build(tmp_path_factory.mktemp("bounded"), prompts, shards=shards, max_kept=bounds)
    given_by = {str(task).lower(): [0, 0] for task in Task}
    for number, outcome in enumerate((whole, made)):
        for row in (*outcome.sft.values(), *outcome.pairs.values()):
            given_by[row.dataset][number] += 1
    for dataset, (unbounded, kept) in given_by.items():
        full = min(unbounded, bounds[dataset])
        assert kept in ((full - 1, full) if dataset == "coding" else (full,))
    useful, kept = ({*outcome.sft, *outcome.pairs} for outcome in (whole, made))
    assert kept <= useful
    assert made.made.values.drops.get("OverMaxKept", 0) == len(useful) - len(kept)
    for prompt in kept:
        if prompts[prompt][0] is not Task.INSTRUCTION:  # whose split depends on the kept prompts
            assert made.sft.get(prompt) == whole.sft.get(prompt)
            assert made.pairs.get(prompt) == whole.pairs.get(prompt)


def test_the_rows_have_all_turns_and_the_model_of_their_source(tmp_path):
    made = build(tmp_path, instruction_prompts(10), held_out=0.3)
    file = tmp_path / "prompts" / "00000-of-00001.parquet"
    turns = [Message(role="user", content="Capital of France?"), Message(role="assistant", content="Paris")]
    asked = list(read_rows(file, Prompt))
    chats = [p.model_copy(update={"history": turns}) if i % 2 else p for i, p in enumerate(asked)]
    whole = {p.prompt_id: p.messages for p in chats}

    def rebuild(rows, out, columns=None):
        write_rows(file, Prompt, rows)
        if columns:  # of an earlier release
            pq.write_table(pq.read_table(file, columns=columns), file)
        sources = [s.model_copy(update={"source_model": "Ada-7B"}) for s in made.parameters.sources]
        construct.run(make_work(tmp_path / out, made.parameters.model_copy(update={"sources": sources})))
        sft = {r.prompt_id: r for r in read_rows(tmp_path / out / "sft.parquet", SftExample)}
        pairs = {
            r.prompt_id: r
            for name in ("pairs", "held-out")
            for r in read_rows(tmp_path / out / f"{name}.parquet", PreferencePair)
        }
        assert {(r.source, r.source_model) for r in [*sft.values(), *pairs.values()]} == {("a", "Ada-7B")}
        return {p: r.messages[:-1] for p, r in sft.items()} | {p: r.prompt for p, r in pairs.items()}

    assert rebuild(chats, "chats") == whole
    assert rebuild(asked, "single") == {p.prompt_id: p.messages for p in asked}
    earlier = [name for name in Prompt.model_fields if name != "history"]
    assert rebuild(asked, "earlier", earlier) == {p.prompt_id: p.messages for p in asked}
    assert {row.source_model for row in made.sft.values()} == {"a"}
