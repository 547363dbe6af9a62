import json

import pytest

from fusionrun.api.records import Prompt, Response
from fusionrun_stages import prepare
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.prompts.contamination import COMMON_PROMPTS, BenchmarkIndex, words_of
from fusionrun_stages.prompts.dataset_rows import hash_text
from fusionrun_stages.volume.parquet import read_rows
from support.stage import make_work, read_shards

ANSWERED = {"prompt": "prompt", "answer": "answer"}
POEM = "Write a long poem about the sea in which a gull talks to the old keeper of the light at night"
LONG = "Tom has {} apples and gives three of them to his friend Anna before he walks home in the rain"


def dataset(name, uri, task="Instruction", **fields):
    return {"name": name, "task": task, "uri": uri, "columns": {"prompt": "prompt"}, **fields}


@pytest.fixture
def data(volume):
    """Return a function that writes rows (or prompts) to the volume, and describes them as a data set."""

    def write(name, rows, task="Instruction", **fields):
        path = volume / "inputs" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        rows = [{"prompt": row} if isinstance(row, str) else row for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return dataset(name, f"pvc://claim/inputs/{name}.jsonl", task, **fields)

    return write


def run(volume, datasets, benchmarks=(), shards=3, stage="prepare/prompts", out="out"):
    parameters = {"kind": "prepare", "datasets": datasets, "benchmarks": list(benchmarks), "shards": shards, "seed": 42}
    made = prepare.run(make_work(volume / out, parameters, stage))
    assert all((volume / out / name).is_file() for name in made.files)
    return made


def prompts(volume, out="out"):
    return read_shards(volume / out / "prompts", Prompt)


def responses(volume, source):
    return read_shards(volume / "out" / "responses" / source, Response)


def test_every_prompt_is_in_one_shard_sorted_with_its_columns(volume, data):
    rows = [{"q": f"{n} + {n}", "gold": 2 * n} for n in range(20)]
    made = run(volume, [data("math", rows, "Mathematics", columns={"prompt": "q", "answer": "gold"})])
    found = prompts(volume)
    assert made.values.prompts == len(found) == 20
    assert {(p.prompt, p.answer) for p in found} == {(r["q"], str(r["gold"])) for r in rows}
    assert len({p.prompt_id for p in found}) == 20
    assert all(len(p.prompt_id) == 16 for p in found)
    assert len(list((volume / "out" / "prompts").iterdir())) == 3
    for path in (volume / "out" / "prompts").iterdir():
        ids = [p.prompt_id for p in read_rows(path, Prompt)]
        assert ids == sorted(ids)


def test_the_same_input_gives_the_same_bytes(volume, data):
    rows = [{"prompt": f"p {n % 30}", "r": f"r {n}"} for n in range(100)]
    given = data("a", rows, responses_columns={"big": "r"}, max_prompts=11)
    one, two = (run(volume, [given], out=out) for out in ("out", "again"))
    assert one.values == two.values
    for name in one.files:
        assert (volume / "out" / name).read_bytes() == (volume / "again" / name).read_bytes()


def test_duplicates_are_dropped_regardless_of_white_space(volume, data):
    made = run(volume, [data("a", ["a  b", "a b", " a\nb ", "c"]), data("b", ["a b", "d"])])
    assert sorted((p.dataset, p.prompt) for p in prompts(volume)) == [("a", "a  b"), ("a", "c"), ("b", "d")]
    assert made.values.duplicates == 3


def test_the_reasoning_of_a_response_has_its_own_column(volume, data):
    rows = [{"prompt": "a", "r": "<think>hm</think>yes"}, {"prompt": "b", "r": "no"}]
    run(volume, [data("a", rows, responses_columns={"big": "r"})])
    assert sorted((r.text, r.reasoning) for r in responses(volume, "big")) == [("no", None), ("yes", "hm")]


def test_duplicate_prompts_never_drop_responses(volume, data):
    rows = [{"prompt": "p", "answer": "1", "solution": f"s{n}"} for n in range(5)]
    unsolved = {"prompt": "q", "answer": "2", "solution": None}
    fields = {"columns": ANSWERED, "responses_columns": {"llama": "solution"}}
    datasets = [("omi", [*rows[:4], unsolved]), ("more", rows[4:])]
    made = run(volume, [data(name, given, "Mathematics", **fields) for name, given in datasets])
    found = responses(volume, "llama")
    assert [(r.sample_index, r.text) for r in found] == [(n, f"s{n}") for n in range(5)]
    assert {(r.dataset, r.finish_reason, r.error) for r in found} == {("omi", "stop", None)}
    assert {r.prompt_id for r in found} == {p.prompt_id for p in prompts(volume) if p.prompt == "p"}
    assert (made.values.prompts, made.values.duplicates) == (2, 0)
    assert made.values.by_dataset == {"omi": 2, "more": 0}


def test_the_same_text_for_another_task_is_another_prompt(volume, data):
    rows = [{"prompt": "p", "answer": "1"}]
    run(volume, [data("a", rows), data("b", rows, "Mathematics", columns=ANSWERED)])
    assert len(prompts(volume)) == 2


def test_max_prompts_is_a_seeded_sample(volume, data):
    rows = [f"p {n}" for n in range(50)]
    made = run(volume, [data("a", rows, max_prompts=7)])
    chosen = {p.prompt for p in prompts(volume)}
    assert (made.values.prompts, made.values.over_limit, len(chosen)) == (7, 43, 7)
    assert chosen != set(rows[:7])
    run(volume, [data("a", rows, max_prompts=8)])
    assert chosen < {p.prompt for p in prompts(volume)}


def test_prompts_that_overlap_a_benchmark_are_dropped_and_reported(volume, data):
    bench = [{"prompt": LONG.format(17), "answer": "1"}, {"prompt": "Short one?", "answer": "2"}]
    rows = ["Please solve: " + LONG.format(17) + ".", "short ONE", "short one more", LONG.format(18) + " again"]
    made = run(volume, [data("a", rows)], [data("gsm", bench, "Mathematics", columns=ANSWERED)])
    assert {p.prompt for p in prompts(volume)} == {"short one more"}
    assert made.values.contaminated == 3
    report = json.loads((volume / "out" / "contamination.json").read_text())
    assert "contamination.json" in made.files
    gsm = report["benchmarks"]["gsm"]
    assert (gsm["prompts"], gsm["contaminated"], gsm["by_dataset"]) == (2, 3, {"a": 3})
    assert [e["prompt"] for e in gsm["examples"]] == [rows[0], rows[1], rows[3]]
    example = {"dataset": "a", "benchmark": "gsm", "prompt": "short ONE", "shared": "short one"}
    assert gsm["examples"][1] == example | {"prompt_id": hash_text("a\0short ONE")[:16]}
    assert len(gsm["examples"][0]["shared"].split()) == report["ngram_words"] == 13


def test_a_common_ngram_is_a_template_and_an_equal_prompt_is_not(volume, data):
    numbers = range(1, COMMON_PROMPTS + 3)
    benchmark = data("gsm", [{"prompt": LONG.format(1), "answer": "1"}], "Mathematics", columns=ANSWERED)
    made = run(volume, [data("a", [LONG.format(n) for n in numbers])], [benchmark])
    assert {p.prompt for p in prompts(volume)} == {LONG.format(n) for n in numbers if n != 1}
    assert made.values.contaminated == 1


def test_every_chinese_character_is_a_word():
    assert words_of("你好, World 3!") == ["你", "好", "world", "3"]
    overlap = BenchmarkIndex()
    overlap.add("b", ["今天的天气真的很好我们一起去公园散步吧"])
    assert overlap.find_overlap(overlap.match(["他说今天的天气真的很好我们一起去公园"])) is not None
    assert overlap.match(["今天的天气"]) is None


@pytest.mark.parametrize(
    ("task", "columns", "row", "reason"),
    [
        ("Instruction", {"prompt": "prompt"}, {"prompt": None}, "a.jsonl:1: no prompt in column 'prompt'"),
        ("Mathematics", {"prompt": "prompt", "answer": "a"}, {"prompt": "p", "a": ""}, "no answer in column 'a'"),
        ("Coding", {"prompt": "prompt", "tests": "t"}, {"prompt": "p", "t": []}, "no tests in column 't'"),
        ("Coding", {"prompt": "prompt"}, {"prompt": "p"}, "no tests in column None"),
        ("Instruction", {"prompt": "prompt"}, {"prompt": "a\ud83d b"}, "a.jsonl:1: a text that is not Unicode"),
        ("Coding", {"prompt": "prompt", "tests": "t"}, {"prompt": "p", "t": '["\\ud83d"]'}, "lone surrogate"),
    ],
)
def test_bad_rows_are_counted_and_an_unusable_data_set_is_refused(volume, data, task, columns, row, reason):
    with pytest.raises(UserError, match=rf"datasets\[a\]: no usable row among 2; .*{reason}"):
        run(volume, [data("a", [row, row], task, columns=columns)])
    good = {"prompt": "good", "a": "1", "t": ["assert f(1)"]}
    if "None" not in reason:
        made = run(volume, [data("a", [row, good], task, columns=columns)])
        assert (made.values.prompts, made.values.bad_rows) == (1, 1)
        assert made.details["datasets"]["a"]["bad_rows"] == 1


def test_a_response_or_benchmark_that_is_not_unicode_is_counted(volume, data):
    rows = [{"prompt": "p", "r": "half an emoji \ud83d"}, {"prompt": "q", "r": "whole"}]
    benchmark = data("gsm", [LONG.format(1) + "\ud83d", LONG.format(2)])
    made = run(volume, [data("a", rows, responses_columns={"big": "r"})], [benchmark])
    assert [r.text for r in responses(volume, "big")] == ["whole"]
    first = "a.jsonl:1: a text that is not Unicode: invalid UTF-8, or a lone surrogate"
    assert (made.values.bad_rows, made.details["datasets"]["a"]["first_bad"]) == (1, first)
    assert json.loads((volume / "out" / "contamination.json").read_bytes())["benchmarks"]["gsm"]["prompts"] == 1


def test_unused_columns_are_ignored(volume, data):
    run(volume, [data("a", [{"prompt": "p", "other": "\ud83d"}])])
    assert [p.prompt for p in prompts(volume)] == ["p"]


def test_empty_and_missing_data_are_user_errors(volume, data):
    for given, message in (
        (data("a", []), r"datasets\[a\]: .*the data set is empty"),
        (dataset("a", "pvc://claim/inputs/none.jsonl"), r"datasets\[a\]: .*no such file or folder"),
        (data("b", [{"x": 1}]), r"datasets\[b\]: column 'prompt': missing in b.jsonl, which has: x"),
    ):
        with pytest.raises(UserError, match=message):
            run(volume, [given])
    with pytest.raises(InfrastructureError, match="is not on the volume"):
        run(volume, [dataset("a", "hf://o/n", revision="a" * 40)])


def test_a_hub_data_set_is_read_from_its_download_folder(volume):
    folder = volume / "fusionrun" / "datasets" / ("a" * 12)
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"prompt": "p"}\n')
    assert run(volume, [dataset("a", "hf://o/n", revision="a" * 40)]).values.prompts == 1


@pytest.mark.parametrize("stage", ["prepare/benchmarks", "prepare/benchmarks-qwen2.5"])
def test_benchmarks_may_share_prompts(volume, data, stage):
    two = [data(name, [{"prompt": "p", "answer": "1"}], "Mathematics", columns=ANSWERED) for name in "ab"]
    made = run(volume, two, stage=stage, shards=1)
    assert made.values.prompts == 2


def test_tests_may_be_a_program_a_list_or_a_json_list(volume, data):
    rows = [{"prompt": str(n), "t": t} for n, t in enumerate(["assert f()", ["a", "b"], '["a", "b"]', "[1, 2] == f()"])]
    run(volume, [data("code", rows, "Coding", columns={"prompt": "prompt", "tests": "t"})])
    found = {p.prompt: p.tests for p in prompts(volume)}
    assert found == {"0": ["assert f()"], "1": ["a", "b"], "2": ["a", "b"], "3": ["[1, 2] == f()"]}


def test_reference_solutions_are_written_to_their_folder(volume, data):
    rows = [{"prompt": f"p{n}", "t": "assert f()", "s": "def f(): return 1" if n else " "} for n in range(4)]
    rows.append(rows[1] | {"s": "a duplicate's"})
    columns = {"prompt": "prompt", "tests": "t", "solution": "s"}
    made = run(volume, [data("code", rows, "Coding", columns=columns)])
    found = read_shards(volume / "out" / "solutions", Response)
    solved = {p.prompt_id for p in prompts(volume) if p.prompt != "p0"}
    assert len(found) == len(solved) == 3
    assert {r.prompt_id for r in found} == solved
    assert {(r.dataset, r.sample_index, r.text) for r in found} == {("code", 0, "def f(): return 1")}
    assert len([name for name in made.files if name.startswith("solutions/")]) == 3


def test_excluded_subjects_and_near_duplicates_are_counted_separately(volume, data):
    rows = ["Write a Python function.", "write a  python function.", "What is 2 + 2?", POEM, POEM + " please", POEM]
    made = run(volume, [data("a", rows, excluded_subjects=["Code", "Mathematics"], near_duplicate_threshold=0.8)])
    assert {p.prompt for p in prompts(volume)} == {POEM}
    dropped = {reason: count for reason, count in made.values.drops.items() if count}
    assert dropped == {"Duplicate": 1, "NearDuplicate": 1, "Code": 2, "Mathematics": 1}
    assert made.details["datasets"]["a"]["near_examples"] == [POEM + " please"]
    code_alone = run(volume, [data("a", rows, excluded_subjects=["Code"])], out="code")
    assert (code_alone.values.prompts, code_alone.values.mathematics) == (3, 0)


def test_subjects_and_near_duplicates_are_kept_by_default(volume, data):
    made = run(volume, [data("a", ["Write a Python function.", POEM, POEM + " please"])])
    assert (made.values.prompts, made.values.near_duplicates, made.values.code) == (3, 0, 0)


def test_an_excluded_prompt_may_belong_to_the_next_data_set(volume, data):
    rows = [{"prompt": "Write a Python function.", "r": "from a"}, {"prompt": "Sing."}]
    fields = {"responses_columns": {"big": "r"}}
    first = data("a", rows, excluded_subjects=["Code"], **fields)
    run(volume, [first, data("b", [rows[0] | {"r": "from b"}], **fields)])
    assert {(p.dataset, p.prompt) for p in prompts(volume)} == {("a", "Sing."), ("b", "Write a Python function.")}
    assert [(r.dataset, r.text) for r in responses(volume, "big")] == [("b", "from b")]


def test_near_duplicates_are_found_across_data_sets_of_one_task(volume, data):
    for task, counts in (("Instruction", (1, 1)), ("SftOnly", (2, 0))):
        datasets = [data("a", [POEM]), data("b", [POEM + " please"], task)]
        made = run(volume, [given | {"near_duplicate_threshold": 0.8} for given in datasets], out=task)
        assert (made.values.prompts, made.values.near_duplicates) == counts


def test_contamination_examples_are_bounded_per_benchmark(volume, data):
    bench = [f"Short question number {n}" for n in range(30)]
    run(volume, [data("a", [*bench, "fine"])], [data("quiz", bench), data("other", ["Something else"])])
    report = json.loads((volume / "out" / "contamination.json").read_text())["benchmarks"]
    assert (report["quiz"]["contaminated"], len(report["quiz"]["examples"])) == (30, 20)
    assert report["other"] == {"prompts": 1, "contaminated": 0, "by_dataset": {}, "examples": []}


TURNS = [("user", "Capital of France?"), ("assistant", "Paris"), ("user", "And of Peru?")]


def chat(*turns):
    return {"prompt": [{"role": role, "content": text} for role, text in turns]}


def test_the_turns_of_a_conversation_are_its_prompt(volume, data):
    other = [TURNS[0], ("assistant", "Lyon"), TURNS[2]]
    rows = [chat(*TURNS), chat(*TURNS[:2], ("user", "And  of Peru?")), chat(*other), chat(TURNS[2])]
    made = run(volume, [data("a", rows, turns="All")])
    found = prompts(volume)
    expected = [TURNS, other, [TURNS[2]]]
    assert sorted([(m.role, m.content) for m in p.messages] for p in found) == sorted(expected)
    assert (made.values.prompts, made.values.duplicates) == (3, 1)
    (single,) = [p for p in found if p.history is None]
    assert single.prompt_id == hash_text("a\0And of Peru?")[:16], "a prompt of one turn keeps its identifier"
    assert len({p.prompt_id for p in found}) == 3


@pytest.mark.parametrize(
    ("early", "fields", "dropped"),
    [
        (LONG.format(17), {}, "Contaminated"),
        ("short ONE?", {}, "Contaminated"),
        ("Write a Python function.", {"excluded_subjects": ["Code"]}, "Code"),
        (POEM + " please", {"near_duplicate_threshold": 0.8}, "NearDuplicate"),
    ],
)
def test_a_filter_reads_all_turns(volume, data, early, fields, dropped):
    bench = data("gsm", [LONG.format(17), "Short one?"])
    rows = [chat(("user", POEM)), chat(("user", early), ("assistant", "Yes."), ("user", "So?"))]
    made = run(volume, [data("a", rows, turns="All", **fields)], [bench])
    assert {reason: count for reason, count in made.values.drops.items() if count} == {dropped: 1}
    assert [p.prompt for p in prompts(volume)] == [POEM]


def test_a_limit_on_responses_is_a_seeded_sample_of_different_ones(volume, data):
    rows = [{"prompt": f"p{n % 3}", "r": f"r {n // 3 % 15}"} for n in range(90)]  # each response twice
    fields = {"responses_columns": {"big": "r"}, "max_responses_per_prompt": 4}
    made = run(volume, [data("a", rows, **fields)])
    found = {p: sorted(r.text for r in responses(volume, "big") if r.prompt_id == p.prompt_id) for p in prompts(volume)}
    assert all(len(texts) == len(set(texts)) == 4 for texts in found.values())
    assert len({tuple(texts) for texts in found.values()}) > 1
    assert sorted({r.sample_index for r in responses(volume, "big")}) == [0, 1, 2, 3]
    assert made.details["datasets"]["a"]["responses_over_limit"] == 90 - 12
    run(volume, [data("a", rows[::-1], **fields)], out="reversed")
    kept = {(r.prompt_id, r.text) for r in read_shards(volume / "reversed" / "responses" / "big", Response)}
    assert kept == {(r.prompt_id, r.text) for r in responses(volume, "big")}
    run(volume, [data("a", rows, **fields | {"max_responses_per_prompt": 5})], out="more")
    assert kept < {(r.prompt_id, r.text) for r in read_shards(volume / "more" / "responses" / "big", Response)}
