"""What the client makes of each kind of reply (``replies.json``), from a server on the loopback interface."""

import asyncio
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response
from fusionrun.api.tasks.responses import GenerateParameters
from fusionrun_stages.client.chat import ChatClient
from fusionrun_stages.client.completions import read_completion
from fusionrun_stages.volume.parquet import read_rows, write_rows
from support.generation import PROMPTS

QUESTION = Question(**PROMPTS[0].model_dump())
CASES = json.loads(Path(__file__).with_name("replies.json").read_text())
SAMPLING = {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.05, "max_tokens": 64}


def parameters_of(url):
    return GenerateParameters(
        source="s", base_url=url, model="m", prompts_dir="p", shards=1, samples_per_prompt={}, concurrency=1,
        stall_seconds=60, seed=1, sampling=SAMPLING,
    )  # fmt: skip


def planned(reply):
    """Return status, headers and body of a reply of a case."""
    if "raw" not in reply:
        return 200, {}, reply
    raw = reply["raw"]
    body = bytes.fromhex(raw["hex"]) if "hex" in raw else raw["body"].encode() * raw.get("repeat", 1)
    headers = raw.get("headers", {})
    if raw.get("gzip"):
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    return raw.get("status", 200), headers, body


async def request(parameters, samples):
    async with ChatClient(parameters) as client:
        return [row async for row in client.request(QUESTION, range(samples))]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_reply_becomes_a_row(tmp_path, server, monkeypatch, case):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.001)
    replies = [planned(reply) for reply in case["replies"]]
    server.plan = lambda body, number: replies[min(number, len(replies)) - 1]
    rows = asyncio.run(request(parameters_of(server.url), case["samples"]))
    assert [row.sample_index for row in rows] == case.get("order", list(range(case["samples"])))
    for row, right in zip(rows, case["rows"], strict=True):
        expected = dict(right)
        assert (row.error or "").startswith(error := expected.pop("error", "")), row.error
        assert bool(row.error) == bool(error)
        assert {name: getattr(row, name) for name in expected} == expected
    assert len(server.requests) == case["requests"]
    write_rows(tmp_path / "rows.parquet", Response, rows)
    assert list(read_rows(tmp_path / "rows.parquet", Response)) == rows


def test_a_reply_is_read_up_to_a_limit(server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.001)
    body = gzip.compress(b" " * 2**28, 1)
    server.plan = lambda *_: (200, {"Content-Encoding": "gzip"}, body)
    tracemalloc.start()
    try:
        (row,) = asyncio.run(request(parameters_of(server.url), 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert row.error.startswith("not a chat completion")
    assert peak < 2**27, "the limit, and one piece of the decoder"


CLIENT = ChatClient(parameters_of("http://127.0.0.1:9"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=9), values, max_size=4),
    max_leaves=20,
)
FINISH = st.sampled_from(["stop", "length", "abort", None]) | JSON
MESSAGE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "reasoning", "reasoning_content", "refusal", "tool_calls"), JSON)
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 4) | JSON,
        "message": MESSAGE | JSON,
        "finish_reason": FINISH,
        "token_ids": JSON,
    },
)
USAGE = st.fixed_dictionaries({}, optional={"prompt_tokens": JSON, "completion_tokens": JSON})
REPLY = JSON | st.fixed_dictionaries(
    {}, optional={"choices": st.lists(CHOICE | JSON, max_size=5), "usage": USAGE | JSON}
)


@settings(max_examples=500, deadline=None)
@given(reply=REPLY, count=st.integers(1, 4))
def test_any_json_is_read_without_an_exception(reply, count):
    completion = read_completion(json.dumps(reply).encode(), count)
    assert set(completion.samples) <= set(range(count))
    assert completion.samples or completion.error
    for index, sample in completion.samples.items():
        row = CLIENT._row(PROMPTS[0], index, sample, completion.prompt_tokens)
        assert Response.model_validate_json(row.model_dump_json()) == row
        assert (row.finish_reason == "error") == (row.error is not None)
        assert 0 <= row.prompt_tokens < 2**31
        assert 0 <= row.completion_tokens < 2**31
