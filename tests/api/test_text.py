"""Text that UTF-8 cannot write (a lone surrogate) is replaced where it comes in, and refused by every row."""

import pytest
from pydantic import ValidationError

from fusionrun.api.records import Message, Prompt, Response, Verdict, VerdictValue, replace_surrogates
from fusionrun.api.results.result import decode_result

HALF = "half an emoji \ud83d"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("an emoji \U0001f600, a sign \ufffd, a mark \ufeff, a NUL \0", None),
        (HALF, "half an emoji \ufffd"),
        ("\ude00 first", "\ufffd first"),
        ("wrong order \ude00\ud83d", "wrong order \ufffd\ufffd"),
        ("both halves \ud83d" + "\ude00", "both halves \U0001f600"),
        ("\udcff of a file name", "\ufffd of a file name"),
    ],
)
def test_lone_surrogates_are_replaced_and_nothing_else(text, expected):
    found = replace_surrogates(text)
    assert found == (text if expected is None else expected)
    assert found.encode().decode() == found


RESPONSE = {"prompt_id": "p", "dataset": "d", "source": "s", "sample_index": 0, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda text: Prompt(prompt_id="p", dataset="d", task="t", prompt=text), "prompt"),
        (lambda text: Prompt(prompt_id="p", dataset="d", task="t", prompt="", answer=text), "answer"),
        (lambda text: Prompt(prompt_id="p", dataset="d", task="t", prompt="", tests=["", text]), "tests.1"),
        (lambda text: Response(**RESPONSE, text=text), "text"),
        (lambda text: Response(**RESPONSE, text="", error=text), "error"),
        (lambda text: Response(**RESPONSE, text="", reasoning=text), "reasoning"),
        (
            lambda text: Verdict(prompt_id="p", source="s", sample_index=0, verdict=VerdictValue.WRONG, detail=text),
            "detail",
        ),
        (lambda text: Message(role="user", content=text), "content"),
    ],
)
def test_a_row_refuses_them_by_the_name_of_the_field(make, field):
    make("an emoji \U0001f600")
    with pytest.raises(ValidationError, match="surrogates not allowed") as refused:
        make(HALF)
    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == field


@pytest.mark.parametrize("message", [r"\ud83d", "\ud83d"], ids=["escaped", "raw"])
def test_a_termination_message_with_one_is_no_result_and_no_error(message):
    assert decode_result(f'{{"outcome": "Failed", "message": "{message}"}}') is None
    assert decode_result(message) is None


@pytest.mark.parametrize("count", [-1, 2**63, 2**70, 1.5, 1e400, float("nan"), True, "7", None, [7]])
def test_what_is_no_count_of_tokens_is_0_and_keeps_the_row(count):
    row = Response(**RESPONSE, text="paid", prompt_tokens=count, completion_tokens=2**63 - 1)
    assert (row.text, row.prompt_tokens, row.completion_tokens) == ("paid", 0, 2**63 - 1)
