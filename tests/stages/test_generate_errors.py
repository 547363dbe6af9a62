"""generate: error replies and invalid replies."""

import asyncio
import itertools

import pytest

from fusionrun_stages import generate
from fusionrun_stages.client.heartbeat import Heartbeat, watch_for_stall
from fusionrun_stages.client.retries import SERVER_ERROR_ATTEMPTS
from fusionrun_stages.errors import InfrastructureError, ServerStalledError, UserError
from support.generation import PROMPTS, TOTAL, count_stored, error, reply_to, rows, run, run_successor

BUSY, ERROR = (429, {"Retry-After": "0.05"}, {}), error(500, "oops")


@pytest.mark.parametrize(
    ("failures", "concurrency"),
    [
        ([BUSY, ERROR, "drop", (503, {}, {})], 4),
        ([(408, {}, {}), (409, {}, {}), (200, {}, {"ok": True})], 4),
        ([BUSY] * 9 + [ERROR], 1),  # rate limits do not make the first 500 final
    ],
    ids=["unavailable", "timeout, conflict and invalid reply", "rate limit, then server error"],
)
def test_transient_failures_are_retried(tmp_path, server, monkeypatch, failures, concurrency):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: dict(enumerate(failures, start=1)).get(number)
    made = run(tmp_path, server.url, concurrency=concurrency)
    assert (made.values.responses, made.values.errors) == (TOTAL, 0)
    assert len(server.requests) == len(PROMPTS) + len(failures)


def test_a_prompt_that_always_gets_a_server_error_is_recorded(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.01)
    server.plan = reply_to("p 1", (500, {}, {}))
    assert run(tmp_path, server.url).values.errors == 1
    assert len(server.requests) == len(PROMPTS) + SERVER_ERROR_ATTEMPTS - 1


def test_a_daily_rate_limit_ends_the_stage_and_keeps_stored_rows(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.heartbeat.RATE_LIMITED_STALLS", 0.5)
    server.plan = lambda body, number: (429, {"Retry-After": "0.05"}, {}) if number > 6 else None
    with pytest.raises(InfrastructureError, match=r"requests with 429 .*results so far are stored"):
        run(tmp_path, server.url, external=True, stall_seconds=2)
    assert count_stored(tmp_path) >= 6
    run_successor(tmp_path, server, external=True)


MODERATED = error(403, "flagged by moderation")
TOO_LONG = error(400, "maximum context length is 256 tokens")


@pytest.mark.parametrize(("reply", "external"), [(TOO_LONG, False), (MODERATED, True)], ids=["too long", "moderation"])
def test_a_rejected_prompt_is_recorded_with_its_reason(tmp_path, server, reply, external):
    server.plan = reply_to("p 3", reply)
    made = run(tmp_path, server.url, external=external)
    (failed,) = [r for r in rows(tmp_path) if r.error]
    assert (failed.prompt_id, failed.finish_reason, failed.text) == (PROMPTS[3].prompt_id, "error", "")
    assert failed.error == f"{reply[0]}: {reply[2]['error']['message']}"
    assert (made.values.responses, made.values.errors) == (TOTAL - 1, 1)


@pytest.mark.parametrize(
    ("reply", "after", "most", "message"),
    [
        (error(401, "bad key"), 0, 1, "answered 401: bad key"),
        (MODERATED, 0, 40, "answered 403: flagged"),
        (MODERATED, 3, 43, "answered 403: flagged"),
        (error(429, "You exceeded your quota", code="insufficient_quota"), 0, 1, "answered 429: You exceeded"),
    ],
    ids=["wrong key", "key without permission", "revoked key", "exceeded account quota"],
)
def test_an_endpoint_that_refuses_the_key_ends_the_stage(tmp_path, server, monkeypatch, reply, after, most, message):
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.01)
    monkeypatch.setenv("KEY", "secret")
    server.plan = lambda body, number: reply if number > after else None
    samples = {"d0": 40, "d1": 1}
    with pytest.raises(UserError, match=message):
        run(tmp_path, server.url, external=True, api_key_env="KEY", concurrency=1, samples_per_prompt=samples)
    assert len(server.requests) <= most
    assert server.requests[0][1]["Authorization"] == "Bearer secret"


def test_two_stalled_servers_behind_one_address_are_detected():
    counts = itertools.cycle([1000.0, 500.0])

    async def count():
        return next(counts)

    with pytest.raises(ServerStalledError, match="no token accepted"):
        asyncio.run(asyncio.wait_for(watch_for_stall(Heartbeat(), 0.2, "no token accepted", count), 5))


def test_an_unknown_finish_reason_is_recorded_as_an_error(tmp_path, server):
    answer = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    strange = {"p 1": answer, "p 3": []}

    def plan(body, number):
        prompt = body["messages"][0]["content"]
        return (200, {}, strange[prompt]) if prompt in strange else None

    server.plan = plan
    run(tmp_path, server.url)
    assert len(server.requests) == len(PROMPTS) + 2  # an invalid reply may come from a proxy: it is retried
    errors = sorted(r.error for r in rows(tmp_path) if r.error)
    assert errors[0] == "finish_reason content_filter"
    assert errors[1].startswith("not a chat completion")


def test_a_server_that_rejects_every_request_is_a_user_error_without_rows(tmp_path, server):
    server.plan = lambda body, number: error(400, "System role not supported")
    with pytest.raises(UserError, match="'qwen': none of 24 requests succeeded: 400: System role not supported"):
        run(tmp_path, server.url)
    assert not list((tmp_path / "out" / "parts").iterdir())
    server.plan = lambda body, number: None
    assert run(tmp_path, server.url).values.responses == TOTAL


def test_a_server_without_n_gets_one_request_per_sample(tmp_path, server):
    server.plan = lambda body, number: error(400, "n must be 1") if body["n"] > 1 else None
    assert run(tmp_path, server.url).values.responses == TOTAL


def test_samples_missing_from_a_reply_are_requested_again(tmp_path, server):
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    answer = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    server.plan = lambda body, number: (200, {}, answer) if body["n"] > 1 else None
    made = run(tmp_path, server.url)
    assert (made.values.responses, len(server.requests)) == (TOTAL, 6 * 3 + 6)
    assert sum(r.completion_tokens == 3 for r in rows(tmp_path)) == 6


def test_missing_samples_are_grouped_into_ranges():
    done = {("p", 1), ("p", 4), ("p", 5)}
    assert list(generate.missing_samples(done, "p", 8)) == [range(1), range(2, 4), range(6, 8)]
    assert list(generate.missing_samples(set(), "p", 20)) == [range(16), range(16, 20)]
    assert list(generate.missing_samples(set(), "p", 0)) == []
    assert list(generate.missing_samples(done | {("p", n) for n in range(8)}, "p", 8)) == []


def test_a_neutral_parameter_that_the_server_rejects_is_left_out(tmp_path, server):
    rejected = error(400, "Unrecognized request argument: top_k")
    server.plan = lambda body, number: rejected if "top_k" in body else None
    assert run(tmp_path, server.url).values.responses == TOTAL
    assert all("repetition_penalty" in body for _, _, body in server.requests)


def reply_with_surrogates(body, number):
    """Put a surrogate into one prompt's response, another one's error, and a third one's finish reason."""
    prompt = body["messages"][0]["content"]
    message = {"role": "assistant", "content": "half an emoji \ud83d" if prompt == "p 1" else "complete"}
    reason = "half \ud83d" if prompt == "p 5" else "stop"
    if prompt == "p 3":
        return error(400, "rejected \ud83d")
    choices = [{"index": index, "message": message, "finish_reason": reason} for index in range(body["n"])]
    return 200, {}, {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


def test_a_surrogate_in_a_reply_is_replaced_and_stored(tmp_path, server):
    server.plan = reply_with_surrogates
    with pytest.MonkeyPatch.context() as patch:  # the pod dies between the last reply and the file
        patch.setattr(generate, "write_rows", lambda *_: (_ for _ in ()).throw(OSError("the node is gone")))
        with pytest.raises(OSError, match="the node is gone"):
            run(tmp_path, server.url)
    before = len(server.requests)
    made = run(tmp_path, server.url, uid="successor")
    assert len(server.requests) == before, "stored samples are not requested again"
    found = {row.prompt_id: row for row in rows(tmp_path)}
    by_prompt = {prompt.prompt: found[prompt.prompt_id] for prompt in PROMPTS}
    assert by_prompt["p 1"].text == "half an emoji \ufffd"
    assert by_prompt["p 3"].error == "400: rejected \ufffd"
    assert by_prompt["p 5"].error == "finish_reason half \ufffd"
    assert made.values.requests == TOTAL
