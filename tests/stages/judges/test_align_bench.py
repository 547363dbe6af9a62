"""AlignBench, against the official code (hack/oracle/align_bench.py)."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.align_bench import last_braces, overall_rating, read_ratings
from fusionrun_stages.judges.protocol import Judged, Reply
from fusionrun_stages.judges.ratings import RATING_MAX

ORACLE = json.loads((Path(__file__).parent / "align_bench.json").read_text(encoding="utf-8"))
DATA = json.dumps({"category": "数学计算", "subcategory": "算术"}, ensure_ascii=False)


def test_official_ratings() -> None:
    for text, score in ORACLE:
        expected = None if score == -1 or score > RATING_MAX else score
        assert (text, overall_rating(text)) == (text, expected)
    assert len({score for _, score in ORACLE}) > 10


@given(st.text(alphabet="{}\na", max_size=24))
def test_last_braces_is_the_official_pattern(text: str) -> None:
    match = re.search(r"{(.*?)}(?![^{]*{)", text)
    assert last_braces(text) == (match[1] if match else None)


@given(st.lists(st.sampled_from(["'", "': ", "': 12", "3", "a", " "]), max_size=16).map("".join))
def test_read_ratings_is_the_official_pattern(text: str) -> None:
    assert read_ratings(text) == dict(re.findall(r"'(.*?)': (\d+)", text))


def test_request(opened, ask, respond, run) -> None:
    question = ask("一加一", references=["二"], data=DATA)
    judged, sent = run(opened(Grader.ALIGN_BENCH), question, respond("{answer}"), lambda _: "{'综合得分': 7}")
    assert judged == Judged(value=7.0)
    (message,) = sent[0].messages
    assert (message.role, message.content) == (
        "user",
        "数学计算\n1. 正确: 对不对。\n2. 清晰: 清不清。\n一加一 二 {answer} {'综合得分': 打分}",
    )


@pytest.mark.parametrize(
    ("reply", "judged"),
    [
        ("没有", Judged(value=-1.0, unparsed=1)),
        ("{'综合得分': 88}", Judged(value=-1.0, unparsed=1)),
        (Reply(finish_reason="error"), Judged(value=None, unparsed=1)),
    ],
)
def test_without_a_rating(reply, judged, opened, ask, respond, run) -> None:
    question = ask(references=["二"], data=DATA)
    assert run(opened(Grader.ALIGN_BENCH), question, respond(), lambda _: reply)[0] == judged


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA.replace("算术", "天文"), r"subcategory_question_mapping\.json: the subcategory '天文' .* is missing"),
        (None, "prompt 0123456789abcdef: category and subcategory must be texts"),
    ],
)
def test_unknown_subcategory(data, message, opened, ask, respond) -> None:
    with pytest.raises(UserError, match=message):
        opened(Grader.ALIGN_BENCH).calls(ask(references=["二"], data=data), respond())
