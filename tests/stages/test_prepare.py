import json

import pytest

from fusionrun.api.records import Prompt, Response
from fusionrun_stages import prepare
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.prompts.contamination import COMMON_PROMPTS, BenchmarkIndex, words_of
from fusionrun_stages.prompts.dataset_rows import hash_text
from fusionrun_stages.volume.parquet import read_rows
from support.stage import make_work

LONG = "Tom has {} apples and gives three of them to his friend Anna before he walks home in the rain"


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(tmp_path))
    return tmp_path


def write(volume, name, rows):
    path = volume / "inputs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return f"pvc://claim/inputs/{name}"


def dataset(name, uri, task="Instruction", **fields):
    return {"name": name, "task": task, "uri": uri, "columns": {"prompt": "prompt"}, **fields}


def run(volume, datasets, benchmarks=(), shards=3, stage="prepare/prompts", out="out"):
    parameters = {"kind": "prepare", "datasets": datasets, "benchmarks": list(benchmarks), "shards": shards, "seed": 42}
    made = prepare.run(make_work(volume / out, parameters, stage))
    assert all((volume / out / name).is_file() for name in made.files)
    return made


def prompts(volume, out="out"):
    return [p for path in sorted((volume / out / "prompts").iterdir()) for p in read_rows(path, Prompt)]


def responses(volume, source):
    folder = volume / "out" / "responses" / source
    return [r for path in sorted(folder.iterdir()) for r in read_rows(path, Response)]


def test_every_prompt_is_in_one_shard_sorted_with_its_columns(volume):
    rows = [{"q": f"{n} + {n}", "gold": 2 * n} for n in range(20)]
    uri = write(volume, "math.jsonl", rows)
    made = run(volume, [dataset("math", uri, "Mathematics", columns={"prompt": "q", "answer": "gold"})])
    found = prompts(volume)
    assert made.values.prompts == len(found) == 20
    assert {(p.prompt, p.answer) for p in found} == {(r["q"], str(r["gold"])) for r in rows}
    assert len({p.prompt_id for p in found}) == 20
    assert all(len(p.prompt_id) == 16 for p in found)
    assert len(list((volume / "out" / "prompts").iterdir())) == 3
    for path in (volume / "out" / "prompts").iterdir():
        ids = [p.prompt_id for p in read_rows(path, Prompt)]
        assert ids == sorted(ids)


def test_the_same_input_gives_the_same_bytes(volume):
    uri = write(volume, "a.jsonl", [{"prompt": f"p {n % 30}", "r": f"r {n}"} for n in range(100)])
    data = dataset("a", uri, responses_columns={"big": "r"}, max_prompts=11)
    one, two = run(volume, [data]), run(volume, [data], out="again")
    assert one.values == two.values
    for name in one.files:
        assert (volume / "out" / name).read_bytes() == (volume / "again" / name).read_bytes()


def test_duplicates_are_dropped_regardless_of_white_space(volume):
    uri = write(volume, "a.jsonl", [{"prompt": p} for p in ("a  b", "a b", " a\nb ", "c")])
    other = write(volume, "b.jsonl", [{"prompt": "a b"}, {"prompt": "d"}])
    made = run(volume, [dataset("a", uri), dataset("b", other)])
    assert sorted((p.dataset, p.prompt) for p in prompts(volume)) == [("a", "a  b"), ("a", "c"), ("b", "d")]
    assert made.values.duplicates == 3


def test_duplicate_prompts_never_drop_responses(volume):
    rows = [{"prompt": "p", "expected": "1", "solution": f"s{n}"} for n in range(4)] + [
        {"prompt": "q", "expected": "2", "solution": None}
    ]
    uri = write(volume, "omi.jsonl", rows)
    more = write(volume, "more.jsonl", [{"prompt": "p", "expected": "1", "solution": "s4"}])
    columns = {"prompt": "prompt", "answer": "expected"}
    made = run(
        volume,
        [
            dataset("omi", uri, "Mathematics", columns=columns, responses_columns={"llama": "solution"}),
            dataset("more", more, "Mathematics", columns=columns, responses_columns={"llama": "solution"}),
        ],
    )
    found = responses(volume, "llama")
    assert [(r.sample_index, r.text) for r in found] == [(n, f"s{n}") for n in range(5)]
    assert {(r.dataset, r.finish_reason, r.error) for r in found} == {("omi", "stop", None)}
    assert {r.prompt_id for r in found} == {p.prompt_id for p in prompts(volume) if p.prompt == "p"}
    assert (made.values.prompts, made.values.duplicates) == (2, 0)


def test_the_same_text_for_another_task_is_another_prompt(volume):
    uri = write(volume, "a.jsonl", [{"prompt": "p", "answer": "1"}])
    run(volume, [dataset("a", uri), dataset("b", uri, "Mathematics", columns={"prompt": "prompt", "answer": "answer"})])
    assert len(prompts(volume)) == 2


def test_max_prompts_is_a_seeded_sample(volume):
    uri = write(volume, "a.jsonl", [{"prompt": f"p {n}"} for n in range(50)])
    made = run(volume, [dataset("a", uri, max_prompts=7)])
    chosen = {p.prompt for p in prompts(volume)}
    assert (made.values.prompts, made.values.over_limit, len(chosen)) == (7, 43, 7)
    assert chosen != {f"p {n}" for n in range(7)}
    run(volume, [dataset("a", uri, max_prompts=8)])
    assert chosen < {p.prompt for p in prompts(volume)}


def test_prompts_that_overlap_a_benchmark_are_dropped_and_reported(volume):
    bench = write(
        volume, "bench.jsonl", [{"prompt": LONG.format(17), "answer": "1"}, {"prompt": "Short one?", "answer": "2"}]
    )
    rows = ["Please solve: " + LONG.format(17) + ".", "short ONE", "short one more", LONG.format(18) + " again"]
    uri = write(volume, "a.jsonl", [{"prompt": p} for p in rows])
    benchmark = dataset("gsm", bench, "Mathematics", columns={"prompt": "prompt", "answer": "answer"})
    made = run(volume, [dataset("a", uri)], [benchmark])
    assert {p.prompt for p in prompts(volume)} == {"short one more"}
    assert made.values.contaminated == 3
    report = json.loads((volume / "out" / "contamination.json").read_text())
    assert "contamination.json" in made.files
    gsm = report["benchmarks"]["gsm"]
    assert (gsm["prompts"], gsm["contaminated"], gsm["by_dataset"]) == (2, 3, {"a": 3})
    assert [e["prompt"] for e in gsm["examples"]] == [rows[0], rows[1], rows[3]]
    assert gsm["examples"][1] == {
        "prompt_id": hash_text("a\0short ONE")[:16], "dataset": "a", "benchmark": "gsm", "prompt": "short ONE",
        "shared": "short one",
    }  # fmt: skip
    assert len(gsm["examples"][0]["shared"].split()) == report["ngram_words"] == 13


def test_a_common_ngram_is_a_template_and_an_equal_prompt_is_not(volume):
    bench = write(volume, "bench.jsonl", [{"prompt": LONG.format(1), "answer": "1"}])
    numbers = range(1, COMMON_PROMPTS + 3)
    uri = write(volume, "a.jsonl", [{"prompt": LONG.format(n)} for n in numbers])
    benchmark = dataset("gsm", bench, "Mathematics", columns={"prompt": "prompt", "answer": "answer"})
    made = run(volume, [dataset("a", uri)], [benchmark])
    assert {p.prompt for p in prompts(volume)} == {LONG.format(n) for n in numbers if n != 1}
    assert made.values.contaminated == 1


def test_every_chinese_character_is_a_word():
    assert words_of("你好, World 3!") == ["你", "好", "world", "3"]
    overlap = BenchmarkIndex()
    overlap.add("b", ["今天的天气真的很好我们一起去公园散步吧"])
    assert overlap.find_overlap(overlap.match("他说今天的天气真的很好我们一起去公园")) is not None
    assert overlap.match("今天的天气") is None


@pytest.mark.parametrize(
    ("task", "columns", "row", "reason"),
    [
        ("Instruction", {"prompt": "prompt"}, {"prompt": None}, "a.jsonl:1: no prompt in column 'prompt'"),
        ("Mathematics", {"prompt": "prompt", "answer": "a"}, {"prompt": "p", "a": ""}, "no answer in column 'a'"),
        ("Coding", {"prompt": "prompt", "tests": "t"}, {"prompt": "p", "t": []}, "no tests in column 't'"),
        ("Coding", {"prompt": "prompt"}, {"prompt": "p"}, "no tests in column None"),
        ("Instruction", {"prompt": "prompt"}, {"prompt": "a\ud83d b"}, "a.jsonl:1: a text with a lone surrogate"),
        (
            "Coding",
            {"prompt": "prompt", "tests": "t"},
            {"prompt": "p", "t": json.dumps(["assert f() == '\ud83d'"])},
            "lone surrogate",
        ),
    ],
)
def test_bad_rows_are_counted_and_an_unusable_data_set_is_refused(volume, task, columns, row, reason):
    uri = write(volume, "a.jsonl", [row, row])
    with pytest.raises(UserError, match=rf"datasets\[a\]: no usable row among 2; .*{reason}"):
        run(volume, [dataset("a", uri, task, columns=columns)])
    good = {"prompt": "good", "a": "1", "t": ["assert f(1)"]}
    uri = write(volume, "a.jsonl", [row, good])
    if "None" not in reason:
        made = run(volume, [dataset("a", uri, task, columns=columns)])
        assert (made.values.prompts, made.values.bad_rows) == (1, 1)
        assert made.details["datasets"]["a"]["bad_rows"] == 1


def test_a_response_or_benchmark_that_is_not_unicode_is_counted(volume):
    rows = [{"prompt": "p", "r": "half an emoji \ud83d"}, {"prompt": "q", "r": "whole"}]
    bench = write(volume, "bench.jsonl", [{"prompt": LONG.format(1) + "\ud83d"}, {"prompt": LONG.format(2)}])
    data = dataset("a", write(volume, "a.jsonl", rows), responses_columns={"big": "r"})
    made = run(volume, [data], [dataset("gsm", bench)])
    assert [r.text for r in responses(volume, "big")] == ["whole"]
    first = "a.jsonl:1: a text with a lone surrogate, which is not Unicode"
    assert (made.values.bad_rows, made.details["datasets"]["a"]["first_bad"]) == (1, first)
    assert json.loads((volume / "out" / "contamination.json").read_bytes())["benchmarks"]["gsm"]["prompts"] == 1


def test_unused_columns_are_ignored(volume):
    run(volume, [dataset("a", write(volume, "a.jsonl", [{"prompt": "p", "other": "\ud83d"}]))])
    assert [p.prompt for p in prompts(volume)] == ["p"]


def test_empty_and_missing_data_are_user_errors(volume):
    with pytest.raises(UserError, match=r"datasets\[a\]: .*the data set is empty"):
        run(volume, [dataset("a", write(volume, "a.jsonl", []))])
    with pytest.raises(UserError, match=r"datasets\[a\]: .*no such file or folder"):
        run(volume, [dataset("a", "pvc://claim/inputs/none.jsonl")])
    with pytest.raises(UserError, match=r"datasets\[a\]: column 'prompt': missing in a.jsonl, which has: x"):
        run(volume, [dataset("a", write(volume, "a.jsonl", [{"x": 1}]))])
    with pytest.raises(InfrastructureError, match="is not on the volume"):
        run(volume, [dataset("a", "hf://o/n", revision="a" * 40)])


def test_a_hub_data_set_is_read_from_its_download_folder(volume):
    folder = volume / "fusionrun" / "datasets" / ("a" * 12)
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"prompt": "p"}\n')
    assert run(volume, [dataset("a", "hf://o/n", revision="a" * 40)]).values.prompts == 1


def test_benchmarks_may_share_prompts(volume):
    uri = write(volume, "a.jsonl", [{"prompt": "p", "answer": "1"}])
    columns = {"prompt": "prompt", "answer": "answer"}
    two = [dataset("a", uri, "Mathematics", columns=columns), dataset("b", uri, "Mathematics", columns=columns)]
    made = run(volume, two, stage="prepare/benchmarks", shards=1)
    assert made.values.prompts == 2


def test_tests_may_be_a_program_a_list_or_a_json_list(volume):
    rows = [{"prompt": str(n), "t": t} for n, t in enumerate(["assert f()", ["a", "b"], '["a", "b"]', "[1, 2] == f()"])]
    uri = write(volume, "a.jsonl", rows)
    run(volume, [dataset("code", uri, "Coding", columns={"prompt": "prompt", "tests": "t"})])
    assert {p.prompt: p.tests for p in prompts(volume)} == {
        "0": ["assert f()"], "1": ["a", "b"], "2": ["a", "b"], "3": ["[1, 2] == f()"],
    }  # fmt: skip


def test_reference_solutions_are_written_to_their_folder(volume):
    rows = [{"prompt": f"p{n}", "t": "assert f()", "s": "def f(): return 1" if n else " "} for n in range(4)]
    uri = write(volume, "a.jsonl", [*rows, rows[1] | {"s": "a duplicate's"}])
    columns = {"prompt": "prompt", "tests": "t", "solution": "s"}
    made = run(volume, [dataset("code", uri, "Coding", columns=columns)])
    folder = volume / "out" / "solutions"
    found = [r for path in sorted(folder.iterdir()) for r in read_rows(path, Response)]
    solved = {p.prompt_id for p in prompts(volume) if p.prompt != "p0"}
    assert len(found) == len(solved) == 3
    assert {r.prompt_id for r in found} == solved
    assert {(r.dataset, r.sample_index, r.text) for r in found} == {("code", 0, "def f(): return 1")}
    assert len([name for name in made.files if name.startswith("solutions/")]) == 3


POEM = "Write a long poem about the sea in which a gull talks to the old keeper of the light at night"


def test_excluded_subjects_and_near_duplicates_are_counted_separately(volume):
    rows = ["Write a Python function.", "write a  python function.", "What is 2 + 2?", POEM, POEM + " please", POEM]
    uri = write(volume, "a.jsonl", [{"prompt": p} for p in rows])
    made = run(volume, [dataset("a", uri, excluded_subjects=["Code", "Mathematics"], near_duplicate_threshold=0.8)])
    assert {p.prompt for p in prompts(volume)} == {POEM}
    dropped = {
        k: getattr(made.values, k) for k in ("duplicates", "near_duplicates", "code", "mathematics", "contaminated")
    }
    assert dropped == {"duplicates": 1, "near_duplicates": 1, "code": 2, "mathematics": 1, "contaminated": 0}
    assert made.details["datasets"]["a"]["near_examples"] == [POEM + " please"]
    code_alone = run(volume, [dataset("a", uri, excluded_subjects=["Code"])], out="code")
    assert (code_alone.values.prompts, code_alone.values.mathematics) == (3, 0)


def test_subjects_and_near_duplicates_are_kept_by_default(volume):
    uri = write(volume, "a.jsonl", [{"prompt": p} for p in ("Write a Python function.", POEM, POEM + " please")])
    made = run(volume, [dataset("a", uri)])
    assert (made.values.prompts, made.values.near_duplicates, made.values.code) == (3, 0, 0)


def test_an_excluded_prompt_may_belong_to_the_next_data_set(volume):
    uri = write(volume, "a.jsonl", [{"prompt": "Write a Python function.", "r": "from a"}, {"prompt": "Sing."}])
    other = write(volume, "b.jsonl", [{"prompt": "Write a Python function.", "r": "from b"}])
    held = {"responses_columns": {"big": "r"}}
    run(volume, [dataset("a", uri, excluded_subjects=["Code"], **held), dataset("b", other, **held)])
    assert {(p.dataset, p.prompt) for p in prompts(volume)} == {("a", "Sing."), ("b", "Write a Python function.")}
    assert [(r.dataset, r.text) for r in responses(volume, "big")] == [("b", "from b")]


def test_near_duplicates_are_found_across_data_sets_of_one_task(volume):
    uri = write(volume, "a.jsonl", [{"prompt": POEM}])
    other = write(volume, "b.jsonl", [{"prompt": POEM + " please"}])
    fields = {"near_duplicate_threshold": 0.8}
    made = run(volume, [dataset("a", uri, **fields), dataset("b", other, **fields)])
    assert (made.values.prompts, made.values.near_duplicates) == (1, 1)
    separate = run(volume, [dataset("a", uri, **fields), dataset("b", other, "SftOnly", **fields)], out="separate")
    assert (separate.values.prompts, separate.values.near_duplicates) == (2, 0)


def test_contamination_examples_are_bounded_per_benchmark(volume):
    bench = [{"prompt": f"Short question number {n}"} for n in range(30)]
    benchmark = dataset("quiz", write(volume, "quiz.jsonl", bench))
    empty = dataset("other", write(volume, "other.jsonl", [{"prompt": "Something else"}]))
    run(volume, [dataset("a", write(volume, "a.jsonl", [*bench, {"prompt": "fine"}]))], [benchmark, empty])
    report = json.loads((volume / "out" / "contamination.json").read_text())["benchmarks"]
    assert (report["quiz"]["contaminated"], len(report["quiz"]["examples"])) == (30, 20)
    assert report["other"] == {"prompts": 1, "contaminated": 0, "by_dataset": {}, "examples": []}
