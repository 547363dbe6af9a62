"""verify: the verdicts of a shard by grader."""

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Prompt, Verdict, VerdictValue
from fusionrun.api.results.values import Verified
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun_stages import verify
from fusionrun_stages.grade import PROMPT_FAULT, right, wrong
from fusionrun_stages.grading import judging
from fusionrun_stages.grading.coding import benchmark
from fusionrun_stages.grading.coding.benchmark import Result
from fusionrun_stages.volume.parquet import read_rows
from support.stage import make_work, prompt, response, write_inputs

RIGHT, WRONG, UNKNOWN = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN


def run(tmp_path, grader, prompts, responses, report=None, model=Prompt):
    rows = (sorted(rows, key=lambda row: row.prompt_id) for rows in (prompts, responses))
    folders = write_inputs(tmp_path, *rows, 1, 3, model)
    parameters = VerifyParameters(grader=grader, datasets=["d"], source="s", **folders)
    made = verify.run(make_work(tmp_path, parameters, "verify/s", shard=1, report=report))
    assert made.files == ["verdicts/00001-of-00003.parquet"]
    return made, list(read_rows(tmp_path / made.files[0], Verdict))


def test_exact_match_verdicts_are_sorted(tmp_path):
    made, rows = run(
        tmp_path,
        Grader.EXACT_MATCH,
        [prompt("b", answer="x y"), prompt("a", answer="X"), prompt("c", dataset="other", answer="X"), prompt("e")],
        [
            response("b", " x\n y ", sample=1),
            response("b", "x z", sample=0),
            response("a", "x"),
            response("c", "X"),
            response("e", "1"),
            response("a", "", sample=1, finish="error", error="HTTP 400"),
            response("a", "X", sample=2, finish="length"),
        ],
    )
    found = [f"{row.prompt_id}{row.sample_index} {row.verdict}" for row in rows]
    assert found == ["a0 wrong", "a1 unknown", "a2 right", "b0 wrong", "b1 right", "e0 unknown"]
    assert rows[1].detail == "the request failed: HTTP 400"
    assert rows[-1].detail.startswith(PROMPT_FAULT)
    assert made.values == Verified(right=2, wrong=2, unknown=2)


def test_mathematics_is_graded(tmp_path):
    made, _ = run(
        tmp_path,
        Grader.MATHEMATICS,
        [prompt("a", answer="4"), prompt("b", answer="x+")],
        [response("a", r"\boxed{4}"), response("a", r"\boxed{5}", sample=1), response("b", "1")],
    )
    assert made.values == Verified(right=1, wrong=1, unknown=1)


def test_missing_modules_are_counted_by_name(tmp_path, monkeypatch):
    details = ["missing module: numpy", PROMPT_FAULT + "missing module: numpy", "failed: assert f() == 1", ""]
    names = [f"p{number}" for number in range(len(details))]
    monkeypatch.setattr(verify, "judge", lambda _, batch, __: [
        Verdict(prompt_id=one.prompt.prompt_id, source="s", sample_index=0, verdict=UNKNOWN, detail=detail)
        for one, detail in zip(batch, details, strict=True)
    ])  # fmt: skip
    made, _ = run(tmp_path, Grader.EXACT_MATCH, [prompt(n) for n in names], [response(n, "x") for n in names])
    assert made.details["missing_modules"] == {"numpy": 2}


def test_without_responses_the_file_is_empty(tmp_path):
    for grader in Grader:
        made, rows = run(tmp_path, grader, [prompt("a", dataset="other")], [response("a", "1")])
        assert (rows, made.values) == ([], Verified())


def test_batches_do_not_change_the_verdicts(tmp_path, monkeypatch):
    prompts = [prompt(f"{n:03}", dataset="other" if n % 10 == 3 else "d", answer=str(n)) for n in range(100)]
    responses = [response(f"{n:03}", str(n + s % 2), sample=s) for n in range(0, 120, 2) for s in (2, 0, 1)]
    _, rows = run(tmp_path, Grader.EXACT_MATCH, prompts, responses)
    (whole,) = (tmp_path / "verdicts").iterdir()
    before = whole.read_bytes()
    held, reports = [], []
    real = verify.judge
    monkeypatch.setattr(judging, "BATCH_RESPONSES", 10)
    monkeypatch.setattr(verify, "judge", lambda *arguments: held.append(arguments[1]) or real(*arguments))
    made, again = run(
        tmp_path, Grader.EXACT_MATCH, prompts, responses, report=lambda done, total, _: reports.append((done, total))
    )
    assert again == rows
    assert whole.read_bytes() == before
    assert max(sum(len(q.responses) for q in batch) for batch in held) == 12  # a prompt is not split
    assert [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)
    assert made.values == Verified(right=100, wrong=50, unknown=0)
    assert reports[-1] == (150, 180)


def test_progress_is_reported_while_a_batch_is_graded(tmp_path):
    prompts, reports = [prompt(f"{n:03}", answer="x") for n in range(20)], []
    responses = [response(f"{n:03}", "x", sample=s) for n in range(20) for s in range(2)]
    run(tmp_path, Grader.EXACT_MATCH, prompts, responses, report=lambda done, *_: reports.append(done))
    assert reports == [16, 32, 40]


def question(name, task, **fields):
    return Question(prompt_id=name, dataset="d", task=task, prompt="?", **fields)


def test_the_task_of_a_question_selects_the_rules_for_programs(tmp_path, monkeypatch):
    asked = []

    def grade_questions(questions):
        asked.extend(questions)
        for index, one in enumerate(questions):
            for text in dict.fromkeys(one.texts):
                plus = wrong("failed: input 3") if one.question.task == "EvalPlus" else None
                yield index, text, Result(right(), plus)

    monkeypatch.setattr(benchmark, "grade_questions", grade_questions)
    monkeypatch.setattr(verify, "isolation_details", lambda *_: {})
    made, rows = run(
        tmp_path,
        Grader.CODING,
        [
            question("a", Grader.EVAL_PLUS, data="{}", prefill="```\n"),
            question("b", Grader.LIVE_BENCH),
            question("c", Grader.LIVE_CODE_BENCH, data='{"tests": []}'),
        ],
        [response("a", "x"), response("b", "x"), response("c", "x"), response("c", "y", 1), response("c", "x", 2)],
        model=Question,
    )
    assert [(row.prompt_id, row.sample_index, row.verdict, row.plus) for row in rows] == [
        ("a", 0, RIGHT, WRONG),
        ("c", 0, RIGHT, None),
        ("c", 1, RIGHT, None),
        ("c", 2, RIGHT, None),
    ]
    assert rows[0].detail == "plus tests: failed: input 3"
    assert made.values == Verified(right=4)
    assert [one.question.data for one in asked] == ["{}", '{"tests": []}']


def test_questions_with_large_tests_are_graded_in_batches(tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(judging, "BATCH_CHARACTERS", 1000)
    monkeypatch.setattr(verify, "isolation_details", lambda *_: {})
    monkeypatch.setattr(verify, "judge", lambda _, batch, __: held.append(len(batch)) or [])
    questions = [question(f"q{n}", Grader.LIVE_CODE_BENCH, data="x" * 400) for n in range(7)]
    run(tmp_path, Grader.CODING, questions, [response(f"q{n}", "x") for n in range(7)], model=Question)
    assert held == [3, 3, 1]
