"""Arena-Hard, against the official code (hack/oracle/arena_hard.py)."""

import json
from pathlib import Path

import pytest

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.judges.arena_hard import battles, interval, read_verdict
from fusionrun_stages.judges.protocol import Judged, Reply

ORACLE = json.loads((Path(__file__).parent / "arena_hard.json").read_text(encoding="utf-8"))


@pytest.fixture
def arena(opened):
    return opened(Grader.ARENA_HARD, files={"judge.yaml": json.dumps(ORACLE["settings"])})


@pytest.mark.parametrize("case", ORACLE["cases"], ids=lambda case: case["name"])
def test_official_games_and_scores(case, arena, ask, respond, run) -> None:
    won, total, sent, found = 0.0, 0.0, [], []
    for number, question in enumerate(case["questions"]):

        def judge(call, games=question["games"]):
            return games[call.number][call.attempt]

        asked = ask(question["question"], references=["first text"])
        response = respond("other text {question_1}")
        judged, calls = run(arena, asked, response, judge)
        last = {call.number: judge(call) for call in calls}
        assert [read_verdict(last[game]) for game in (0, 1)] == question["official"]
        sent += [(number, call) for call in calls]
        won += (judged.value or 0) * judged.weight
        total += judged.weight
        found += battles({game: Reply(text) for game, text in last.items()})
    first = [
        [number, call.number, call.attempt, [message.model_dump() for message in call.messages]]
        for number, call in sent
        if number == 0
    ]
    assert first == case["first_messages"]
    assert len(sent) == case["attempts"]
    assert found == case["battles"]
    assert total == len(found)
    assert won / total == pytest.approx(case["win_rate"], abs=1e-6)
    assert interval(found) == pytest.approx((case["lower"], case["upper"]), abs=1e-6)


def test_judge_that_always_says_a_gives_50(arena, ask, respond, run) -> None:
    judged, _ = run(arena, ask(references=["baseline"]), respond(), lambda _: "[[A>B]]")
    assert judged == Judged(value=50.0, weight=2.0, consistent=False)


@pytest.mark.parametrize(
    ("games", "judged"),
    [
        (("[[B>>A]]", "[[A>B]]"), Judged(value=100.0, weight=4.0, consistent=True)),
        (("[[A>>B]]", "[[A>B]]"), Judged(value=25.0, weight=4.0, consistent=False)),
        (("[[A=B]]", "[[A=B]]"), Judged(value=50.0, weight=2.0, consistent=True)),
        (("[[A=B]]", "[[A>>B]]"), Judged(value=87.5, weight=4.0, consistent=False)),
        (("[[A>B]]", "none"), Judged(value=0.0, weight=1.0, unparsed=1)),
        (("[[A>B]] [[B>A]]", "[[X]]"), Judged(value=None, weight=0.0, unparsed=2)),
        ((Reply(finish_reason="error"), "[[A>B]]"), Judged(value=100.0, weight=1.0, unparsed=1)),
    ],
)
def test_verdicts(games, judged, arena, ask, respond, run) -> None:
    assert run(arena, ask(references=["baseline"]), respond(), lambda call: games[call.number])[0] == judged


def test_second_attempt_only_without_a_verdict(arena, ask, respond, run) -> None:
    replies = {(0, 0): "undecided", (0, 1): "[[B>A]]", (1, 0): Reply(finish_reason="error")}
    judged, sent = run(arena, ask(references=["x"]), respond(), lambda call: replies[call.number, call.attempt])
    assert [(call.number, call.attempt) for call in sent] == [(0, 0), (0, 1), (1, 0)]
    assert [message.role for message in sent[1].messages] == ["system", "user", "assistant", "user"]
    assert (judged.value, judged.unparsed) == (100.0, 1)


def test_interval_of_wins_only_is_finite() -> None:
    assert interval([1.0] * 10) == pytest.approx((100, 100), abs=1e-6)
    with pytest.raises(ValueError, match="no battles"):
        interval([])
