"""Rubrics of users."""

import pytest

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Judged, Reply

RUBRIC = 'Rate {response} to {prompt} by {answer}: {"form": "[[5]]"}'


def test_request(opened, ask, respond, run) -> None:
    rubric = opened(Grader.RUBRIC, RUBRIC)
    judged, sent = run(rubric, ask("Why {response}?", answer="so"), respond("{answer}"), lambda _: "As [[5]]: [[7.5]]")
    assert judged == Judged(value=7.5)
    assert sent[0].messages[0].content == 'Rate {answer} to Why {response}? by so: {"form": "[[5]]"}'


@pytest.mark.parametrize("reply", ["8", "[8]", "[[0]]", "[[10.5]]", "[[11]]", "", Reply(finish_reason="error")])
def test_without_a_rating(reply, opened, ask, respond, run) -> None:
    rubric = opened(Grader.RUBRIC, RUBRIC)
    assert run(rubric, ask(answer="so"), respond(), lambda _: reply)[0] == Judged(value=None, unparsed=1)


def test_prompt_without_an_answer(opened, ask, respond) -> None:
    with pytest.raises(
        UserError, match=r"prompt 0123456789abcdef: the rubric has .answer., and the prompt has no answer"
    ):
        opened(Grader.RUBRIC, RUBRIC).calls(ask(), respond())
    assert opened(Grader.RUBRIC, "Rate {response}.").calls(ask(), respond())


@pytest.mark.parametrize(("rubric", "message"), [(None, "rubric: required"), ("Rate it.", "placeholder {response}")])
def test_bad_rubric(rubric, message, opened) -> None:
    with pytest.raises(UserError, match=message):
        opened(Grader.RUBRIC, rubric)
