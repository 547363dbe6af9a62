"""Every layout reads the form of its owners; the rows are invented."""

import gzip
import json

import pytest

from fusionrun.api.tasks.protocol import Layout
from fusionrun_stages.benchmarks.reader import OPENERS
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.counts import PromptCounts
from support.benchmarks import (
    align_files,
    alpaca_files,
    arena_files,
    benchmark,
    case,
    mt_files,
    open_reader,
    packed,
    problem,
    questions,
    write,
)

REDUX_HEADER = "question;choices;answer;error_type;source;correct_answer;potential_reason\n"
CHOICE = "Pick one.\nQuestion:\n{prompt}\nOptions:\n{options}\nAnswer:"


def test_every_layout_has_a_reader():
    assert OPENERS.keys() == set(Layout)


def read(folder, files, layout, grader, **protocol):
    return questions(benchmark(write(folder, files), layout, grader, **protocol))


@pytest.mark.parametrize(
    ("layout", "files", "expected"),
    [
        (
            "MMLUPro",
            {
                "data/test-00000-of-00001.parquet": [
                    {"question_id": 70, "question": "Which {one}?", "options": ["a", "b", "N/A"], "answer": "B",
                     "answer_index": 1, "cot_content": "", "category": "biology", "src": "x"},
                ],
                "data/validation-00000-of-00001.parquet": [{"question_id": 1, "question": "Not asked."}],
            },
            ("Which {one}?", ["a", "b"], "B", "biology"),
        ),
        (
            "MMLU",
            {
                "all/test-00000-of-00001.parquet": [
                    {"question": "Which?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 3}
                ],
                "all/dev-00000-of-00001.parquet": [{"question": "Not asked."}],
                "anatomy/test-00000-of-00001.parquet": [
                    {"question": "Which?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 3}
                ],
            },
            ("Which?", ["a", "b", "c", "d"], "D", "anatomy"),
        ),
        (
            "MMLURedux",
            {
                "mmlu_redux/mmlu_virology.csv": REDUX_HEADER
                + "\"A \"\"small\"\" one;\";\"['a, b', \"\"it's\"\"]\";1;wrong_groundtruth;;0;Typo\n",
                "mini_mmlu/mmlu_virology.csv": "an earlier version",
            },
            ('A "small" one;', ["a, b", "it's"], "B", "virology"),
        ),
        (
            "GPQA",
            {
                "diamond/train-00000-of-00001.parquet": [
                    {"Question": "Which?", "options": ["a", "b", "c", "d"], "answer": 0, "Canary String": "x"}
                ],
                "main/train-00000-of-00001.parquet": [{"Question": "Not asked."}],
            },
            ("Which?", ["a", "b", "c", "d"], "A", None),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_multiple_choice(tmp_path, layout, files, expected):
    (found,) = read(tmp_path, files, layout, "Choice", form={"template": CHOICE, "system": "Be brief."})
    text, options, answer, group = expected
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False))
    assert found.prompt == f"Pick one.\nQuestion:\n{text}\nOptions:\n{lines}\nAnswer:"
    assert (found.options, found.answer, found.group, found.task) == (options, answer, group, "Choice")
    assert (found.system, found.prefill, found.temperature) == ("Be brief.", None, None)


def test_errors_of_mmlu_redux_are_kept(tmp_path):
    files = {
        "mmlu_anatomy.csv": REDUX_HEADER + "Which?;['a', 'b'];0;wrong_groundtruth;;1;Typo\nWhat?;['a', 'b'];1;OK;;;\n"
    }
    found = read(tmp_path, files, "MMLURedux", "Choice")
    assert [json.loads(question.data) for question in found] == [
        {"error_type": "wrong_groundtruth", "correct_answer": "1", "potential_reason": "Typo"},
        {"error_type": "OK"},
    ]


def test_mmlu_redux_of_the_hub_is_an_arrow_stream_per_subject(tmp_path):
    import pyarrow as pa

    row = {"question": "Which?", "choices": ["a", "b"], "answer": 1, "error_type": "ok"}
    table = pa.Table.from_pylist([row])
    path = write(tmp_path, {"anatomy/dataset_info.json": "{}"}) / "anatomy" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    (found,) = questions(benchmark(tmp_path, "MMLURedux", "Choice"))
    assert (found.group, found.answer) == ("anatomy", "B")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"benchmarks\[b\]: anatomy/data-00000-of-00001.arrow: not a complete Arrow"):
        questions(benchmark(tmp_path, "MMLURedux", "Choice"))


@pytest.mark.parametrize(
    ("layout", "row", "expected"),
    [
        ("GSM8K", {"question": " How many? ", "answer": "3+4=<<3+4=7>>7\n#### 1,007"}, ("How many?", "1,007", None)),
        (
            "MATH",
            {
                "problem": "Solve.",
                "solution": r"So \boxed{1} or \boxed{\frac{1}{2}}.",
                "type": "Algebra",
                "level": "Level 1",
            },
            ("Solve.", r"\frac{1}{2}", "Algebra"),
        ),
        ("MATH", {"problem": "Solve.", "solution": r"It is $\boxed 5$."}, ("Solve.", "5", None)),
        ("AMC23", {"id": 0, "problem": "Solve.", "answer": 27.0}, ("Solve.", "27.0", None)),
        ("AMC23", {"question": "Solve it.", "problem": "Solve.", "answer": "27"}, ("Solve it.", "27", None)),
    ],
)
def test_mathematics(tmp_path, layout, row, expected):
    (found,) = read(tmp_path, {"test.jsonl": [row]}, layout, "QwenMathematics")
    assert (found.prompt, found.answer, found.group) == expected
    assert found.task == "QwenMathematics"


EVAL_PLUS = {
    "task_id": "HumanEval/0", "prompt": "def twice(n):\n    '''Double.'''\n", "entry_point": "twice",
    "canonical_solution": "    return 2 * n\n", "base_input": [[1]], "plus_input": [[1.5], [float("inf")]],
    "atol": 1e-6, "contract": "", "test": "left out",
}  # fmt: skip


@pytest.mark.parametrize("name", ["HumanEvalPlus-v0.1.10.jsonl", "HumanEvalPlus.jsonl.gz"])
def test_eval_plus(tmp_path, name):
    lines = json.dumps(EVAL_PLUS).encode()
    files = {name: gzip.compress(lines) if name.endswith("gz") else lines, "MbppPlus.jsonl": [EVAL_PLUS, EVAL_PLUS]}
    form = {"template": "Solve:\n```\n{prompt}\n```\n", "prefill": "```python\n"}
    (found,) = read(tmp_path, files, "EvalPlus", "EvalPlus", name="FuseEval/HumanEval", form=form)
    assert found.prompt == "Solve:\n```\ndef twice(n):\n    '''Double.'''\n```\n"
    assert (found.prefill, found.entry_point, found.task) == ("```python\n", "twice", "EvalPlus")
    assert json.loads(found.data) == {key: value for key, value in EVAL_PLUS.items() if key != "test"}


def test_eval_plus_without_further_inputs(tmp_path):
    files = {"MbppPlus.jsonl": [EVAL_PLUS | {"plus_input": {}}, EVAL_PLUS | {"task_id": "x", "base_input": []}]}
    counts = PromptCounts()
    (found,) = questions(benchmark(write(tmp_path, files), "EvalPlus", "EvalPlus"), counts)
    assert json.loads(found.data)["plus_input"] == []
    assert counts.bad == {"no list of inputs in column 'base_input'": 1}


def test_live_code_bench(tmp_path):
    functional = {
        "starter_code": "class Solution:\n    def twice(self, n):\n        ",
        "metadata": json.dumps({"func_name": "twice"}),
        "public_test_cases": json.dumps([case("1", "2", "functional")]),
        "private_test_cases": json.dumps([case("3", "6", "functional")]),
    }
    files = {
        "test.jsonl": [problem("early", "2024-07-31T23:00:00"), problem("a", "2024-08-01T00:00:00")],
        "test4.jsonl": [problem("b", "2024-11-30T10:00:00", **functional), problem("late", "2024-12-01")],
    }
    window = {"window_start": "2024-08-01", "window_end": "2024-11-30"}
    counts = PromptCounts()
    one, two = questions(benchmark(write(tmp_path, files), "LiveCodeBench", "LiveCodeBench", **window), counts)
    assert (counts.rows, counts.bad_rows) == (4, 0)
    assert one.prompt == (
        "### Question:\nPrint {n} twice (a).\n\n### Format: Read the inputs from stdin solve the problem and write the "
        "answer to stdout (do not directly test on the sample inputs). Enclose your code within delimiters as follows."
        "\n```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with backticks)\n\n"
    )
    data = json.loads(one.data)
    assert (data["fn_name"], data["tests"]) == (None, [case("1", "1\n1"), case("2", "2\n2")])
    assert f"enclose your code within delimiters.\n```python\n{functional['starter_code']}\n```\n\n###" in two.prompt
    data = json.loads(two.data)
    assert (data["fn_name"], data["starter_code"]) == ("twice", functional["starter_code"])
    assert data["tests"] == [case("1", "2", "functional"), case("3", "6", "functional")]
    assert {one.group, one.task, two.task} == {"easy", "LiveCodeBench"}


def test_the_template_of_live_code_bench_may_name_its_parts(tmp_path):
    form = {"template": "Question: {question}\n\n{format}"}
    (found,) = read(tmp_path, {"test.jsonl": [problem("a")]}, "LiveCodeBench", "LiveCodeBench", form=form)
    assert found.prompt.startswith("Question: Print {n} twice (a).\n\nRead the inputs")
    assert found.prompt.endswith("```python\n# YOUR CODE HERE\n```\n\n")


def test_an_empty_window_is_an_error(tmp_path):
    window = {"window_start": "2024-08-01", "window_end": "2024-08-02"}
    with pytest.raises(
        UserError, match=r"benchmarks\[b\]: no usable row among 1; none is from 2024-08-01 to 2024-08-02"
    ):
        read(tmp_path, {"test.jsonl": [problem("a")]}, "LiveCodeBench", "LiveCodeBench", **window)


def live_bench_row(name, category="reasoning", task="zebra_puzzle", released="2024-08-31", removed="", **fields):
    dates = {"livebench_release_date": released, "livebench_removal_date": removed}
    row = {
        "question_id": name,
        "category": category,
        "task": task,
        "turns": [f"Who owns {name}?"],
        "ground_truth": "me",
    }
    return row | dates | fields


def test_live_bench_has_the_questions_of_its_release(tmp_path):
    rows = [
        live_bench_row("a", released="2024-06-24"),
        live_bench_row("b", removed="2024-11-25"),
        live_bench_row("c", removed="2024-08-31"),
        live_bench_row("d", released="2024-11-25"),
    ]
    files = {"live_bench/reasoning/zebra_puzzle/question.jsonl": rows}
    found = read(tmp_path, files, "LiveBench", "LiveBench")
    assert [json.loads(question.data)["question_id"] for question in found] == ["a", "b"]
    assert {(q.group, q.task, q.answer) for q in found} == {("reasoning/zebra_puzzle", "LiveBench", "me")}


def test_live_bench_rows_of_each_kind(tmp_path):
    arguments = [{"num_words": 9, "relation": None}, {"num_words": None, "relation": "at least"}]
    follow = {"instruction_id_list": ["length:words", "x:y"], "kwargs": arguments, "ground_truth": None}
    code = {
        "public_test_cases": json.dumps([case("1", "1")]), "private_test_cases": packed([case("2", "2")]),
        "partial_solution": "def f():", "original_json": {"metadata": '{"func_name": "f"}', "contest_date": "2024"},
    }  # fmt: skip
    files = {
        "coding/data/test-00000-of-00001.parquet": [live_bench_row("a", "coding", "coding_completion", **code)],
        "instruction_following/data/test-00000-of-00001.parquet": [
            live_bench_row("b", "instruction_following", "paraphrase", **follow)
        ],
    }
    coding, following = read(tmp_path, files, "LiveBench", "LiveBench")
    data = json.loads(coding.data)
    assert (coding.task, coding.group) == ("LiveCodeBench", "coding/coding_completion")
    assert (data["fn_name"], data["partial_solution"], data["tests"]) == (
        "f",
        "def f():",
        [case("1", "1"), case("2", "2")],
    )
    data = json.loads(following.data)
    assert data["kwargs"] == [{"num_words": 9}, {"relation": "at least"}]
    assert (data["instruction_id_list"], following.answer, following.task) == (
        ["length:words", "x:y"],
        None,
        "LiveBench",
    )


def test_alpaca_eval(tmp_path):
    parameters = benchmark(write(tmp_path, alpaca_files()), "AlpacaEval", "AlpacaEval")
    found = questions(parameters)
    assert [(q.prompt, q.references, q.group) for q in found][2] == ("Name 2 birds.", ["2 gulls"], "koala")
    assert [(json.loads(q.data)["index"], json.loads(q.data)["difficulty"]) for q in found] == [
        (0, 0),
        (1, 0.25),
        (2, 0.5),
    ]
    assert open_reader(parameters).materials.keys() == {"judge.txt", "gamed.csv"}


def test_arena_hard_in_both_forms(tmp_path):
    fuse = arena_files()
    official = {
        "data/arena-hard-v0.1/question.jsonl": [{"uid": "q1", "cluster": "Birds", "prompt": "Why gulls?"}],
        "data/arena-hard-v2.0/question.jsonl": [{"uid": "z", "prompt": "Not asked."}],
        "data/arena-hard-v0.1/model_answer/gpt-4-0314.jsonl": [
            {"question_id": "q1", "choices": [{"index": 0, "turns": [{"content": "Because q1."}]}]}
        ],
        "config/judge_config.yaml": "system_prompt: Judge.\n",
    }
    for name, files in (("fuse", fuse), ("official", official)):
        parameters = benchmark(write(tmp_path / name, files), "ArenaHard", "ArenaHard")
        first = questions(parameters)[0]
        assert (first.prompt, first.references) == ("Why gulls?", ["Because q1."])
        assert json.loads(first.data) == {"question_id": "q1", "cluster": "Birds"}
        assert open_reader(parameters).materials.keys() == {"judge.yaml"}


def test_mt_bench(tmp_path):
    parameters = benchmark(write(tmp_path, mt_files()), "MTBench", "MTBench", temperatures={"math": 0.0, "stem": 0.1})
    writing, mathematics = questions(parameters)
    assert (writing.prompt, writing.later_turns, writing.references) == ("Write a poem.", ["Shorten it."], None)
    assert (mathematics.later_turns, mathematics.references) == (["Double it."], ["It is 3.", "It is 6."])
    assert (writing.group, writing.temperature, mathematics.temperature) == ("writing", None, 0.0)
    assert open_reader(parameters).materials.keys() == {"judge_prompts.jsonl"}


def test_the_reference_answers_of_the_judge_of_the_protocol_come_first(tmp_path):
    newer = {"question_id": 111, "choices": [{"turns": ["3!", "6!"]}]}
    files = mt_files() | {"data/gpt-4-0125-preview.jsonl": [newer]}
    assert read(tmp_path, files, "MTBench", "MTBench")[1].references == ["3!", "6!"]


def test_a_question_without_its_reference_answer_is_counted(tmp_path):
    files = mt_files() | {"data/gpt-4.jsonl": [{"question_id": 112, "choices": [{"turns": ["?", "?"]}]}]}
    counts = PromptCounts()
    assert len(questions(benchmark(write(tmp_path, files), "MTBench", "MTBench"), counts)) == 1
    assert counts.first_bad == "data/question.jsonl:2: no reference answer: question 111"


def test_align_bench_groups_are_those_of_the_official_means(tmp_path):
    parameters = benchmark(write(tmp_path, align_files()), "AlignBench", "AlignBench", temperatures={"文本写作": 0.7})
    mathematics, poem = questions(parameters)
    assert (mathematics.group, poem.group) == ("reasoning/数学计算", "language/文本写作")
    assert (mathematics.references, mathematics.temperature, poem.temperature) == (["二"], None, 0.7)
    assert json.loads(mathematics.data)["subcategory"] == "初等数学"
    names = {"dimension_set.json", "dimension_definition.json", "subcategory_question_mapping.json", "judge.py"}
    assert open_reader(parameters).materials.keys() == names


@pytest.mark.parametrize(
    ("layout", "grader", "files", "lost", "message"),
    [
        ("AlpacaEval", "AlpacaEval", alpaca_files, "configs/alpaca_eval_clf.txt", "'alpaca_eval_clf.txt' .*tatsu-lab"),
        ("AlpacaEval", "AlpacaEval", alpaca_files, "ref/df_gamed.csv", "'df_gamed.csv' .*tatsu-lab/alpaca_eval"),
        ("ArenaHard", "ArenaHard", arena_files, "data/arena-hard-gpt-4-0314.json", "'gpt-4-0314.jsonl': .*arena-hard"),
        ("ArenaHard", "ArenaHard", arena_files, "config/judge_config.yaml", "'judge_config.yaml'"),
        ("MTBench", "MTBench", mt_files, "data/gpt-4.jsonl", "'gpt-4-0125-preview.jsonl' or 'gpt-4.jsonl'"),
        ("MTBench", "MTBench", mt_files, "data/judge_prompts.jsonl", "'judge_prompts.jsonl': get it from fastchat"),
        ("AlignBench", "AlignBench", align_files, "config/dimension_set.json", "'dimension_set.json': .*THUDM"),
        ("AlignBench", "AlignBench", align_files, "judge.py", "'judge.py': get it from .*THUDM"),
        ("LiveCodeBench", "LiveCodeBench", dict, None, "lacks files 'test\\*.jsonl': get them from livecodebench"),
        ("EvalPlus", "EvalPlus", dict, None, "'HumanEvalPlus\\*.jsonl' or .*get it from github.com/evalplus"),
        ("MMLURedux", "Choice", dict, None, "lacks files 'mmlu_\\*.csv'"),
        ("MMLUPro", "Choice", dict, None, "no file of split 'test'"),
    ],
)  # fmt: skip
def test_a_missing_file_is_named_with_its_origin(tmp_path, layout, grader, files, lost, message):
    tmp_path.joinpath("empty").mkdir()
    given = {name: content for name, content in files().items() if name != lost}
    with pytest.raises(UserError, match=rf"^benchmarks\[b\]: '.*{message}"):
        open_reader(benchmark(write(tmp_path, given), layout, grader))
