"""MT-Bench, against the official code (hack/oracle/mt_bench.py)."""

import json
from pathlib import Path

import pytest

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Judged, Reply
from fusionrun_stages.judges.ratings import RATING_MAX

ORACLE = json.loads((Path(__file__).parent / "mt_bench.json").read_text(encoding="utf-8"))


@pytest.fixture
def mt_bench(opened):
    prompts = "\n".join(map(json.dumps, ORACLE["prompts"])) + "\n\n"
    return opened(Grader.MT_BENCH, files={"judge_prompts.jsonl": prompts})


def test_official_requests_ratings_and_score(mt_bench, ask, respond, run) -> None:
    total = weight = unlike = 0
    for row in ORACLE["questions"]:
        question = ask(row["turns"][0], later_turns=row["turns"][1:], references=row.get("references"))
        response = respond(row["answers"][0], later_texts=row["answers"][1:])
        judged, sent = run(mt_bench, question, response, lambda call, row=row: row["judgements"][call.number])
        messages = [[message.model_dump() for message in call.messages] for call in sent]
        assert messages == [turn["messages"] for turn in row["official"]]
        official = [turn["rating"] for turn in row["official"]]
        unlike += sum(rating > RATING_MAX for rating in official)
        ratings = [rating for rating in official if 0 <= rating <= RATING_MAX]
        assert judged.value == (pytest.approx(sum(ratings) / len(ratings)) if ratings else None)
        assert (judged.weight, judged.unparsed) == (len(ratings), 2 - len(ratings))
        total += sum(official) + official.count(-1)
        weight += len(official) - official.count(-1)
    assert total / weight == pytest.approx(ORACLE["score"])  # the official score has the numbers above 10
    assert unlike > 0


def test_fake_judge(opened, ask, respond, run) -> None:
    mt_bench = opened(Grader.MT_BENCH)
    question = ask("One?", later_turns=["Two?"])
    judged, sent = run(mt_bench, question, respond(later_texts=["2"]), lambda call: f"[[{8 - 3 * call.number}]]")
    assert judged == Judged(value=6.5, weight=2.0)
    assert sent[1].messages[1].content == "One?|Because.|Two?|2"


@pytest.mark.parametrize(
    ("later", "replies", "judged"),
    [
        (["2"], ["[[9]]", ""], Judged(value=9.0, weight=1.0, unparsed=1)),
        (["2"], ["[[11]]", Reply(finish_reason="error")], Judged(value=None, weight=0.0, unparsed=2)),
        (None, ["[[4]]"], Judged(value=4.0, weight=1.0)),
    ],
)
def test_turns_without_a_rating(later, replies, judged, opened, ask, respond, run) -> None:
    response = respond(later_texts=later)
    found, _ = run(opened(Grader.MT_BENCH), ask(later_turns=["Two?"]), response, lambda call: replies[call.number])
    assert found == judged


def test_missing_reference(opened, ask, respond) -> None:
    with pytest.raises(UserError, match=r"prompt 0123456789abcdef: .* turn 2 with a reference, and there are 1"):
        opened(Grader.MT_BENCH).calls(ask(later_turns=["Two?"], references=["1"]), respond(later_texts=["2"]))
