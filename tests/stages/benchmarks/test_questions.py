"""prepare/benchmarks writes the questions and the materials; prepare/prompts compares with the questions alone."""

import json

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Prompt
from fusionrun_stages import prepare
from fusionrun_stages.benchmarks import questions as writing
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.dataset_rows import hash_text
from fusionrun_stages.volume.parquet import read_rows
from support.benchmarks import alpaca_files, arena_files, benchmark, mt_files, open_reader, problem, write
from support.stage import make_work, read_shards

WORDS = "The old keeper of the light counts seven gulls on the roof before the rain begins"
FORM = {"template": "Think step by step about the following question, which was asked by a keeper of a light: {prompt}"}


def run(volume, benchmarks, out="out", shards=1):
    parameters = {"kind": "prepare", "datasets": benchmarks, "benchmarks": [], "shards": shards, "seed": 42}
    made = prepare.run(make_work(volume / out, parameters, "prepare/benchmarks"))
    assert all((volume / out / name).is_file() for name in made.files)
    return made


def found(volume, out="out"):
    return read_shards(volume / out / "prompts", Question)


def mathematics(volume, rows, name="gsm", **fields):
    write(volume / name, {"test.jsonl": rows})
    return benchmark(volume / name, "GSM8K", "QwenMathematics", name=name) | fields


def rows_of(*texts):
    return [{"question": text, "answer": f"#### {number}"} for number, text in enumerate(texts)]


def test_questions_of_several_benchmarks_are_sorted_and_their_materials_copied(volume):
    given = [
        benchmark(write(volume / "alpaca", alpaca_files()), "AlpacaEval", "AlpacaEval", name="alpaca"),
        benchmark(write(volume / "mt", mt_files()), "MTBench", "MTBench", name="mt"),
    ]
    made = run(volume, given)
    rows = found(volume)
    assert [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)
    assert (made.values.prompts, {row.dataset for row in rows}) == (5, {"alpaca", "mt"})
    assert made.files == [
        "prompts/00000-of-00001.parquet",
        "materials/alpaca/judge.txt",
        "materials/alpaca/gamed.csv",
        "materials/mt/judge_prompts.jsonl",
    ]
    template = (volume / "out" / "materials" / "alpaca" / "judge.txt").read_text()
    assert template == alpaca_files()["configs/alpaca_eval_clf.txt"]
    again = run(volume, given)  # a pod that was killed after it had written them
    assert again.files == made.files


def test_the_same_input_gives_the_same_bytes(volume):
    given = [mathematics(volume, rows_of(*map(str, range(50))), max_prompts=9)]
    for out in ("out", "again"):
        run(volume, given, out=out, shards=3)
    for path in (volume / "out" / "prompts").iterdir():
        assert path.read_bytes() == (volume / "again" / "prompts" / path.name).read_bytes()


def test_the_identifier_is_the_hash_of_name_and_question(volume):
    run(volume, [mathematics(volume, rows_of("How  many?"))])
    (question,) = found(volume)
    assert question.prompt_id == hash_text("gsm\0How many?")[:16]


def test_owners_may_ask_the_same_text_twice(volume):
    made = run(volume, [mathematics(volume, rows_of("Same", "Same", "Other", "Same"))])
    rows = found(volume)
    assert len({row.prompt_id for row in rows}) == len(rows) == 4
    assert sorted(row.answer for row in rows) == ["0", "1", "2", "3"]
    assert (made.values.prompts, made.values.duplicates) == (4, 0)


def test_a_question_that_two_files_have_is_asked_once(volume):
    first, second = arena_files()["data/question.jsonl"]
    same_text = second | {"turns": first["turns"]}
    files = arena_files() | {"data/question.jsonl": [first, same_text, first]}
    made = run(volume, [benchmark(write(volume / "arena", files), "ArenaHard", "ArenaHard", name="arena")])
    assert [row.references for row in found(volume)] in (
        [["Because q1."], ["Because q2."]],
        [["Because q2."], ["Because q1."]],
    )
    assert made.values.duplicates == 1


def test_max_prompts_is_a_seeded_sample(volume):
    rows = rows_of(*(f"How many {number}?" for number in range(50)))
    made = run(volume, [mathematics(volume, rows, max_prompts=7)])
    small = {row.prompt for row in found(volume)}
    assert (made.values.prompts, made.values.over_limit, len(small)) == (7, 43, 7)
    assert small != {row["question"] for row in rows[:7]}
    run(volume, [mathematics(volume, rows, max_prompts=8)])
    assert small < {row.prompt for row in found(volume)}


def test_a_benchmark_of_an_earlier_release_gives_the_same_sample(volume):
    write(volume / "own", {"own.jsonl": [{"q": f"p {number}", "a": "1"} for number in range(50)]})
    columns = {"prompt": "q", "answer": "a"}
    new = benchmark(volume / "own", "Table", "ExactMatch", name="own", columns=columns) | {"max_prompts": 5}
    old = {name: value for name, value in new.items() if name != "protocol"}
    for out, given in (("new", new), ("old", old)):
        run(volume, [given], out=out)
    assert found(volume, "new") == found(volume, "old")
    assert [row.prompt_id for row in found(volume, "old")] == sorted(
        hash_text(f"own\0{row.prompt}")[:16] for row in found(volume, "old")
    )


def test_bad_rows_are_counted_and_a_benchmark_without_a_usable_row_is_refused(volume):
    rows = [
        *rows_of("How many?"),
        {"question": "Which?", "answer": "no mark"},
        {"question": "x\ud83d", "answer": "#### 1"},
    ]
    made = run(volume, [mathematics(volume, rows)])
    assert (made.values.prompts, made.values.bad_rows) == (1, 2)
    assert made.details["datasets"]["gsm"]["first_bad"] == "test.jsonl:2: an answer without ####"
    with pytest.raises(UserError, match=r"^benchmarks\[gsm\]: no usable row among 1; test.jsonl:1: an answer without"):
        run(volume, [mathematics(volume, rows[1:2])])
    with pytest.raises(UserError, match=r"^benchmarks\[gsm\]: column 'answer': missing in test.jsonl"):
        run(volume, [mathematics(volume, [{"question": "How many?"}])])


def test_a_template_for_a_judge_has_a_bounded_size(volume, monkeypatch):
    monkeypatch.setattr(writing, "MATERIAL_MAX_BYTES", 10)
    files = write(volume / "alpaca", alpaca_files())
    with pytest.raises(UserError, match=r"benchmarks\[alpaca\]: '.*alpaca_eval_clf.txt': \d+ bytes: .* at most 10"):
        run(volume, [benchmark(files, "AlpacaEval", "AlpacaEval", name="alpaca")])


def test_contamination_is_found_by_the_question_and_not_by_the_template(volume):
    bench = mathematics(volume, rows_of(WORDS + ". How many?"))
    bench["protocol"]["form"] = FORM
    template = FORM["template"].replace("{prompt}", "Sing!")
    write(volume, {"data.jsonl": [{"prompt": text} for text in (WORDS, template, "Sing.")]})
    dataset = {"name": "a", "task": "Instruction", "uri": str(volume / "data.jsonl"), "columns": {"prompt": "prompt"}}
    parameters = {"kind": "prepare", "datasets": [dataset], "benchmarks": [bench], "shards": 1, "seed": 42}
    made = prepare.run(make_work(volume / "out", parameters, "prepare/prompts"))
    assert {row.prompt for row in read_shards(volume / "out" / "prompts", Prompt)} == {template, "Sing."}
    assert made.values.contaminated == 1
    report = json.loads((volume / "out" / "contamination.json").read_text())["benchmarks"]["gsm"]
    assert (report["prompts"], report["contaminated"]) == (1, 1)


def test_the_tests_of_a_problem_are_not_decoded_for_contamination(volume):
    rows = [problem("a"), problem("b", private_test_cases="damaged")]
    reader = open_reader(benchmark(write(volume / "lcb", {"test.jsonl": rows}), "LiveCodeBench", "LiveCodeBench"))
    assert list(reader.texts()) == [row["question_content"] for row in rows]


def test_a_row_with_many_tests_is_read_alone(volume, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.volume.parquet.BATCH_BYTES", 1000)
    rows = [Question(prompt_id=str(n), dataset="d", task="EvalPlus", prompt="?", data="x" * 5000) for n in range(4)]
    from fusionrun_stages.volume import parquet

    path = volume / "questions.parquet"
    parquet.write_rows(path, Question, rows)
    assert list(read_rows(path, Question)) == rows
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        assert parquet._rows_at_once(file.metadata) <= 10
    assert {row.data for row in read_rows(path, Question, leave_out=("data",))} == {None}
