"""evaluate: scores of models and of questions, with intervals."""

import hashlib
import logging
import sys
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace

import pytest
from scipy.stats import spearmanr

from fusionrun.api.artifacts import QUESTION_SCORES_FILE
from fusionrun.api.evaluation_records import Judgement, Question, QuestionScore
from fusionrun.api.records import Response, Verdict, VerdictValue
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.tasks.evaluation import BenchmarkParameters, EvaluateParameters
from fusionrun.api.tasks.protocol import Aggregation, JudgeRequest, Protocol, Unit
from fusionrun_stages import evaluate
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.grade import PROMPT_FAULT
from fusionrun_stages.grading.marks import Mark
from fusionrun_stages.judges.protocol import Judged
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.volume.paths import shard_path
from support.stage import make_work, prompt, response, write_inputs


def run(tmp_path, grader, answers, responses, verdicts=()):
    """Evaluate one benchmark; ``answers`` are the reference answers by prompt."""
    for shard in range(2):
        mine = list(answers)[shard::2]
        prompts = [prompt(name, dataset="bench", task="ExactMatch", answer=answers[name]) for name in mine]
        folders = write_inputs(tmp_path, prompts, [r for r in responses if r.prompt_id in mine], shard, 2)
        rows = [v for v in verdicts if v.prompt_id in mine]
        write_rows(shard_path(tmp_path / "verdicts", shard, 2), Verdict, rows)
    benchmarks = [BenchmarkParameters(name="bench", grader=grader)]
    folders["verdicts_dir"] = str(tmp_path / "verdicts") if verdicts else None
    return evaluate.run(make_work(tmp_path, EvaluateParameters(model="base", benchmarks=benchmarks, **folders)))


def test_the_score_is_the_percentage_of_right_responses(tmp_path):
    responses = [
        response("0", "a"),
        response("1", "x"),
        response("2", "c", finish="length"),  # truncated: wrong, even if it matches
        response("3", finish="error"),
        response("4", " ", reasoning="e"),  # no answer: wrong
        response("5", "f"),  # no reference: left out
    ]
    answers = {"0": "a", "1": "b", "2": "c", "3": "d", "4": "e", "5": None}
    made = run(tmp_path, Grader.EXACT_MATCH, answers, responses)
    assert (made.values.graded, made.values.scores) == ({"bench": 5}, {"bench": 20.0})
    details = made.details["bench"]
    assert [details[name] for name in ("right", "left_out", "truncated", "failed", "blank")] == [1, 1, 1, 1, 1]
    assert details["standard_error"] == pytest.approx(17.8885)
    assert len(details["wrong_answers"]) == 3


def test_coding_uses_the_verdicts_of_the_sandbox(tmp_path):
    details = ["", "", "not done", PROMPT_FAULT + "x"]
    values = [VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN, VerdictValue.UNKNOWN]
    verdicts = [
        Verdict(prompt_id=str(n), source="base", sample_index=0, verdict=value, detail=details[n])
        for n, value in enumerate(values)
    ]
    names = [v.prompt_id for v in verdicts]
    made = run(tmp_path, Grader.CODING, dict.fromkeys(names), [response(n, "…") for n in names], verdicts)
    assert (made.values.graded, made.values.scores) == ({"bench": 3}, {"bench": pytest.approx(33.3333)})


def test_mathematics_is_graded_by_evaluate(tmp_path):
    responses = [response(name, r"\boxed{4}") for name in "01"]
    made = run(tmp_path, Grader.MATHEMATICS, {"0": "4", "1": "5"}, responses)
    assert made.values.scores == {"bench": 50.0}


def test_a_benchmark_without_usable_prompts_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"evaluation.benchmarks\[0\] \(bench\)"):
        run(tmp_path, Grader.EXACT_MATCH, {"0": None}, [response("0", "a")])


def test_a_benchmark_without_usable_prompts_has_no_score_beside_one_that_has(tmp_path):
    prompts = [prompt("0", dataset="a", task="ExactMatch", answer="x"), prompt("1", dataset="b", task="ExactMatch")]
    folders = write_inputs(tmp_path, prompts, [response("0", "x"), response("1", "x")], 0, 1)
    benchmarks = [BenchmarkParameters(name=name, grader=Grader.EXACT_MATCH) for name in "ab"]
    made = evaluate.run(make_work(tmp_path, EvaluateParameters(model="base", benchmarks=benchmarks, **folders)))
    assert (made.values.scores, made.values.graded) == ({"a": 100.0}, {"a": 1, "b": 0})
    assert made.values.unscored == {"b": "none of its prompts has a usable answer or usable tests"}
    assert (made.details["b"]["score"], made.details["b"]["unscored"]) == (None, made.values.unscored["b"])


def protocol_of(grader, **fields):
    fields = {"name": "Own/bench", "version": 3, "sampling": Sampling(), "grader": grader} | fields
    return Protocol(**fields)


@dataclass
class Rows:
    """The rows of a benchmark, and how it is evaluated."""

    questions: list
    responses: list
    verdicts: list = field(default_factory=list)
    judgements: list = field(default_factory=list)


def evaluated(tmp_path, rows, protocol):
    """Evaluate one benchmark with a protocol; return what was made, and the scores of the questions."""
    write_rows(shard_path(tmp_path / "prompts", 0, 1), Question, rows.questions)
    write_rows(shard_path(tmp_path / "responses", 0, 1), Response, rows.responses)
    folders = {f"{name}_dir": str(tmp_path / name) for name in ("prompts", "responses")}
    if rows.verdicts:
        write_rows(shard_path(tmp_path / "verdicts", 0, 1), Verdict, rows.verdicts)
        folders["verdicts_dir"] = str(tmp_path / "verdicts")
    if rows.judgements:
        write_rows(shard_path(tmp_path / "judgements", 0, 1), Judgement, rows.judgements)
        folders |= {"judgements_dir": str(tmp_path / "judgements"), "materials_dir": str(tmp_path / "materials")}
    benchmarks = [BenchmarkParameters(name="bench", grader=protocol.grader, protocol=protocol)]
    parameters = EvaluateParameters(model="final", benchmarks=benchmarks, shards=1, judge="a-judge", **folders)
    made = evaluate.run(make_work(tmp_path / "out", parameters))
    return made, list(read_rows(tmp_path / "out" / QUESTION_SCORES_FILE, QuestionScore))


def question(name, **fields):
    return Question(**{"prompt_id": name, "dataset": "bench", "task": "Choice", "prompt": f"Q{name}?"} | fields)


def stand_in(monkeypatch, name, **functions):
    """Replace a module of graders."""
    module = ModuleType(name)
    for function, value in functions.items():
        setattr(module, function, value)
    package, _, attribute = name.rpartition(".")
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules[package], attribute, module, raising=False)


def letter_is_the_answer(question, text):
    return Mark(float(text == question.answer), parsed=text.isalpha())


def test_the_score_of_a_question_is_the_mean_over_its_samples(tmp_path, monkeypatch):
    stand_in(monkeypatch, "fusionrun_stages.grading.choice", grade=letter_is_the_answer)
    questions = [question(str(n), answer="A", group="x" if n < 2 else "y") for n in range(4)]
    texts = [["A", "A"], ["A", "B"], ["?", "A"], ["B", "B"]]
    responses = [response(str(n), text, sample) for n, pair in enumerate(texts) for sample, text in enumerate(pair)]
    made, scores = evaluated(tmp_path, Rows(questions, responses), protocol_of(Grader.CHOICE, samples=2))
    assert [(row.prompt_id, row.score, row.responses, row.unparsed) for row in scores] == [
        ("0", 100.0, 2, 0), ("1", 50.0, 2, 0), ("2", 50.0, 2, 1), ("3", 0.0, 2, 0),
    ]  # fmt: skip
    assert made.values.scores == {"bench": 50.0}
    assert made.values.lower["bench"] < 50 < made.values.upper["bench"]
    details = made.details["bench"]
    assert (details["protocol"], details["protocol_version"], details["unit"]) == ("Own/bench", 3, "Percent")
    assert (details["interval_method"], details["unparsed"]) == ("bootstrap", 1)
    assert details["categories"] == {"x": 75.0, "y": 25.0}
    assert len(details["questions_sha256"]) == 64


@pytest.mark.parametrize(("grades_truncated", "score"), [(True, 50.0), (False, 25.0)])
def test_a_truncated_response_is_wrong_unless_the_protocol_grades_it(tmp_path, monkeypatch, grades_truncated, score):
    stand_in(monkeypatch, "fusionrun_stages.grading.choice", grade=letter_is_the_answer)
    responses = [response("0", "A"), response("1", "A", finish="length"), response("2", finish="error")]
    questions = [question(str(n), answer="A") for n in range(4)]  # the last one has no response
    protocol = protocol_of(Grader.CHOICE, grades_truncated=grades_truncated)
    made, scores = evaluated(tmp_path, Rows(questions, responses), protocol)
    assert made.values.scores == {"bench": score}
    assert [(row.truncated, row.failed) for row in scores] == [(0, 0), (1, 0), (0, 1), (0, 1)]


def test_a_protocol_may_forbid_examples(tmp_path, monkeypatch):
    stand_in(monkeypatch, "fusionrun_stages.grading.choice", grade=letter_is_the_answer)
    rows = Rows([question("0", answer="A"), question("1", answer="B")], [response("0", "A"), response("1", "A")])
    made, _ = evaluated(tmp_path, rows, protocol_of(Grader.CHOICE, shows_examples=False))
    assert (made.values.scores, made.details["bench"]["wrong_answers"]) == ({"bench": 50.0}, [])


def test_eval_plus_has_the_base_tests_and_all_tests(tmp_path):
    verdicts = [
        Verdict(prompt_id=str(n), source="s", sample_index=0, verdict=base, plus=plus)
        for n, (base, plus) in enumerate([("right", "right"), ("right", "wrong"), ("wrong", "wrong")])
    ]
    rows = Rows([question(str(n)) for n in range(3)], [response(str(n), "…") for n in range(3)], verdicts)
    made, scores = evaluated(tmp_path, rows, protocol_of(Grader.EVAL_PLUS, metrics=["base", "plus"]))
    assert made.values.scores == {"bench": pytest.approx(66.6667)}
    assert made.details["bench"]["metrics"]["plus"]["score"] == pytest.approx(33.3333)
    assert [row.score for row in scores if row.metric == "plus"] == [100.0, 0.0, 0.0]


def test_groups_are_averaged_if_the_protocol_says_so(tmp_path, monkeypatch):
    stand_in(monkeypatch, "fusionrun_stages.grading.live_bench", grade=letter_is_the_answer)
    groups = ["math/a"] * 4 + ["math/b"] * 2 + ["language/c"] * 2 + ["coding/d"] * 2
    tasks = ["LiveBench"] * 8 + ["LiveCodeBench"] * 2
    questions = [
        question(str(n), answer="A", group=group, task=task)
        for n, (group, task) in enumerate(zip(groups, tasks, strict=True))
    ]
    responses = [response(str(n), "A" if n < 5 else "B") for n in range(10)]
    verdicts = [Verdict(prompt_id=str(n), source="s", sample_index=0, verdict="right") for n in (8, 9)]
    protocol = protocol_of(Grader.LIVE_BENCH, aggregation=Aggregation.GROUP_MEANS)
    made, _ = evaluated(tmp_path, Rows(questions, responses, verdicts), protocol)
    assert made.values.scores == {"bench": pytest.approx((75 + 0 + 100) / 3, abs=1e-4)}


class Rater:
    """A judge protocol: each reply is a rating, or nothing; in two orders, of which the second is inverted."""

    def judged(self, question, response, replies):
        found = [float(reply.text) for reply in replies.values() if reply.text]
        if not found:
            return Judged(value=None, unparsed=1)
        return Judged(found[0], weight=float(len(found)), consistent=len(set(found)) == 1)


class Preferrer(Rater):
    """A judge protocol whose replies are preferences in percent."""

    def judged(self, question, response, replies):
        judged = super().judged(question, response, replies)
        return replace(judged, metrics={} if judged.value is None else {"winRate": judged.value}, consistent=None)


def judgement(name, text, call=0, attempt=0):
    return Judgement(
        prompt_id=name, source="s", sample_index=0, call=call, attempt=attempt, key="k", model="judge-2026",
        text=text, finish_reason="stop",
    )  # fmt: skip


def test_judgements_give_weighted_ratings(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    stand_in(monkeypatch, "fusionrun_stages.judges.open", open_judge=lambda *_: Rater())
    (tmp_path / "materials" / "bench").mkdir(parents=True)
    (tmp_path / "materials" / "bench" / "judge.txt").write_text("Rate it.")
    questions = [question(str(n), task="ArenaHard", references=["b" * 10]) for n in range(6)]
    responses = [response(str(n), "a" * 5 * n) for n in range(5)] + [response("5", finish="error")]
    judgements = [
        judgement("0", "2"), judgement("0", "2", call=1),
        judgement("1", "", attempt=0), judgement("1", "4", attempt=1),  # the last attempt counts
        judgement("2", "6"), judgement("2", "7", call=1),
        judgement("3", "8"), judgement("4", ""),
    ]  # fmt: skip
    protocol = protocol_of(
        Grader.ARENA_HARD,
        unit=Unit.RATING,
        grades_truncated=True,
        judge=JudgeRequest(temperature=0, model="official-judge"),
    )
    made, scores = evaluated(tmp_path, Rows(questions, responses, judgements=judgements), protocol)
    assert [(row.score, row.weight) for row in scores] == [(2, 2), (4, 1), (6, 2), (8, 1), (None, 1), (1, 1)]
    assert made.values.scores["bench"] == pytest.approx((2 * 2 + 4 + 6 * 2 + 8 + 1) / 7, abs=1e-4)
    assert made.values.graded == {"bench": 5}
    details = made.details["bench"]
    assert (details["judge"], details["judge_of_protocol"]) == ("a-judge", "official-judge")
    assert details["judge_in_replies"] == ["judge-2026"]
    assert details["templates_sha256"] == {"judge.txt": hashlib.sha256(b"Rate it.").hexdigest()}
    assert (details["position_consistency"], details["unparsed"]) == (0.75, 1)
    assert details["length_bias"] == pytest.approx(spearmanr([0, 5, 10, 15, 0], [2, 4, 6, 8, 1]).statistic, abs=1e-4)
    assert (
        "bench: judge a-judge (of the protocol: official-judge), 1 unparsed, position consistency 0.75, "
        f"length bias {details['length_bias']:.2f}, files: judge.txt {hashlib.sha256(b'Rate it.').hexdigest()[:12]}"
    ) in caplog.messages


@pytest.mark.parametrize(
    ("grader", "missing"), [(Grader.ARENA_HARD, "judgements"), (Grader.EVAL_PLUS, "verdicts")], ids=str
)
def test_missing_inputs_are_named(tmp_path, grader, missing):
    with pytest.raises(InfrastructureError, match=f"bench .*{missing}"):
        evaluated(tmp_path, Rows([question("0")], [response("0", "a")]), protocol_of(grader))


def test_rows_in_the_wrong_order_are_refused(tmp_path):
    rows = Rows([question("0"), question("1")], [response("1", "a"), response("0", "a")])
    with pytest.raises(InfrastructureError, match="responses: prompt 0 comes after 1"):
        evaluated(tmp_path, rows, protocol_of(Grader.EXACT_MATCH))


def test_the_length_controlled_win_rate_is_computed_from_all_preferences(tmp_path, monkeypatch):
    asked = {}

    def length_controlled(preferences, deltas, difficulties, gamed):
        asked.update(preferences=preferences, deltas=deltas, difficulties=difficulties, gamed=gamed)
        return SimpleNamespace(values=[40.0, 50.0, 60.0], standard_error=5.0)

    stand_in(monkeypatch, "fusionrun_stages.judges.open", open_judge=lambda *_: Preferrer())
    regression = {"read_gamed": lambda folder: folder.name, "length_controlled": length_controlled}
    stand_in(monkeypatch, "fusionrun_stages.judges.length_control", **regression)
    questions = [
        question(str(n), task="AlpacaEval", references=["b" * 10], data=f'{{"difficulty": {n / 2}}}') for n in range(3)
    ]
    responses = [response(str(n), "a" * 4 * n) for n in range(3)]
    judgements = [judgement("0", "10"), judgement("1", "90"), judgement("2", "")]
    protocol = protocol_of(
        Grader.ALPACA_EVAL,
        aggregation=Aggregation.LENGTH_CONTROLLED,
        metrics=["lengthControlledWinRate", "winRate"],
        judge=JudgeRequest(temperature=1, model="j"),
    )
    made, scores = evaluated(tmp_path, Rows(questions, responses, judgements=judgements), protocol)
    assert asked == {
        "preferences": [10.0, 90.0, None], "deltas": [10, 6, 2], "difficulties": [0.0, 0.5, 1.0], "gamed": "bench",
    }  # fmt: skip
    assert made.values.scores == {"bench": 50.0}
    # Two preferences, 10 and 90, have a standard error of 40; that of the regression is smaller.
    assert made.details["bench"]["standard_error"] == pytest.approx(40, rel=0.03)
    assert made.details["bench"]["standard_error_of_protocol"] == 5.0
    assert (made.values.lower["bench"], made.values.upper["bench"]) == (0, 100)
    assert made.details["bench"]["metrics"]["winRate"]["score"] == 50.0
    by_metric = {name: [row.score for row in scores if row.metric == name] for name in ("", "winRate")}
    assert by_metric == {"": [40.0, 50.0, 60.0], "winRate": [10.0, 90.0, None]}
