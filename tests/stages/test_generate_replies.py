"""generate: replies without a text, with reasoning, and interrupted ones; rows that an earlier pod has stored."""

import json

import pytest

from fusionrun.api.records import Response
from fusionrun_stages.client.counts import BLANK_PROMPTS_MAX, USELESS_MAX
from fusionrun_stages.errors import UserError
from support.generation import PROMPTS, TOTAL, rows, run

USAGE = {"prompt_tokens": 5, "completion_tokens": 7}


def replying(message, finish_reason="stop"):
    """Plan the same sample for every request."""

    def plan(body, number):
        choice = {"message": message, "finish_reason": finish_reason}
        return 200, {}, {"choices": [choice | {"index": index} for index in range(body["n"])], "usage": USAGE}

    return plan


@pytest.mark.parametrize(
    ("message", "finish_reason", "advice"),
    [
        (
            {"content": None, "reasoning_content": "2+2"},
            "stop",
            "24 have only reasoning: the server's reasoning parser",
        ),
        ({"content": "<think>2+2"}, "length", r"24 were truncated at sampling.maxTokens \(64\)"),
        ({"content": " "}, "stop", "none has reasoning: check the model and its chat template"),
    ],
    ids=["reasoning only", "truncated in the reasoning", "blank"],
)
def test_if_no_reply_has_a_text_the_stage_fails_and_keeps_nothing(tmp_path, server, message, finish_reason, advice):
    server.plan = replying(message, finish_reason)
    with pytest.raises(UserError, match=f"'qwen': none of {TOTAL} replies has a text.*{advice}"):
        run(tmp_path, server.url)
    assert not list((tmp_path / "out" / "parts").iterdir())
    server.plan = lambda body, number: None
    assert run(tmp_path, server.url).values.blank == 0


def test_without_a_text_the_stage_stops_after_the_first_replies(tmp_path, server):
    server.plan = replying({"content": "", "reasoning": "hm"})
    with pytest.raises(UserError, match="replies has a text"):
        run(tmp_path, server.url, concurrency=1, samples_per_prompt={"d0": 100, "d1": 100})
    asked = sum(body["n"] for _, _, body in server.requests)
    assert USELESS_MAX <= asked < 12 * 100
    assert len({body["messages"][0]["content"] for _, _, body in server.requests}) >= BLANK_PROMPTS_MAX


def test_a_few_blank_replies_are_counted_and_kept(tmp_path, server):
    blank = replying({"content": "", "reasoning": "hm"})
    server.plan = lambda body, number: blank(body, number) if body["messages"][0]["content"] in ("p 0", "p 1") else None
    made = run(tmp_path, server.url)
    assert (made.values.responses, made.values.blank, made.values.errors) == (TOTAL, 4, 0)
    assert made.details["with_reasoning"] == 4


def test_blank_replies_to_few_prompts_are_no_error(tmp_path, server):
    server.plan = replying({"content": ""})
    made = run(tmp_path, server.url, samples_per_prompt={"d0": 3}, concurrency=1)
    assert made.values.blank == made.values.responses == 18, "six prompts"


def test_reasoning_is_stored_beside_the_answer(tmp_path, server):
    server.plan = replying({"content": "<think>\n2+2\n</think>\n\n4"})
    run(tmp_path, server.url)
    assert {(row.text, row.reasoning) for row in rows(tmp_path)} == {("4", "2+2")}


def test_samples_that_a_server_aborts_when_it_ends_are_requested_again(tmp_path, server):
    abort = replying({"content": ""}, "abort")
    server.plan = lambda body, number: abort(body, number) if number <= 3 else None
    made = run(tmp_path, server.url, concurrency=2)
    assert (made.values.responses, made.values.errors) == (TOTAL, 0)


def stored_line(**changed):
    row = {
        "prompt_id": PROMPTS[1].prompt_id, "dataset": "d1", "source": "qwen", "sample_index": 0, "text": "paid",
        "finish_reason": "stop", "prompt_tokens": 5, "completion_tokens": 7,
    }  # fmt: skip
    return json.dumps(row | changed)


@pytest.mark.parametrize(
    ("line", "text", "requests"),
    [
        (stored_line(completion_tokens=2**70), "paid", TOTAL - 1),
        (stored_line(prompt_tokens=-1, completion_tokens=1e300), "paid", TOTAL - 1),
        (stored_line(completion_tokens="many"), "paid", TOTAL - 1),
        (stored_line(unknown="of a later release", reasoning="hm"), "paid", TOTAL - 1),
        (stored_line(text="half \ud83d"), None, TOTAL),
        (stored_line(sample_index="first"), None, TOTAL),
        (stored_line()[:60], None, TOTAL),
        ("[" * 100_000, None, TOTAL),
    ],
    ids=["huge", "negative", "text", "later", "surrogate", "index", "torn", "deep"],
)
def test_a_bad_row_of_an_earlier_pod_never_stops_its_successor(tmp_path, server, line, text, requests):
    parts = tmp_path / "out" / "parts"
    parts.mkdir(parents=True)
    (parts / "shard-00000.dead.jsonl.part").write_text(line + "\n")
    made = run(tmp_path, server.url)
    assert made.values.responses == TOTAL
    (row,) = [r for r in rows(tmp_path) if r.prompt_id == PROMPTS[1].prompt_id]
    assert isinstance(row, Response)
    assert text is None or row.text == text
    assert sum(body["n"] for _, _, body in server.requests) == requests
