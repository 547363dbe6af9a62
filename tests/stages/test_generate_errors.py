"""generate: what servers answer that is no answer."""

import asyncio
import itertools

import pytest

pytest.importorskip("pyarrow")
httpx = pytest.importorskip("httpx")


from fusionrun_stages import generate
from fusionrun_stages.client.server import SERVER_ERROR_ATTEMPTS, Heartbeat, watch
from fusionrun_stages.errors import InfrastructureError, ServerWedgedError, UserError
from support.generation import PROMPTS, TOTAL, rows, run


def test_busy_and_broken_replies_are_tried_again(tmp_path, server):
    def plan(body, number):
        return {
            1: (429, {"Retry-After": "0.05"}, {"error": {"message": "slow down"}}),
            2: (500, {}, {"error": {"message": "oops"}}),
            3: "drop",
            4: (503, {}, {}),
        }.get(number)

    server.plan = plan
    made = run(tmp_path, server.url)
    assert (made.values.responses, made.values.errors) == (TOTAL, 0)
    assert len(server.asked) == len(PROMPTS) + 4


def test_server_errors_are_counted_by_themselves(tmp_path, server):
    """What else a request met before does not make its first 500 final."""
    busy = (429, {"Retry-After": "0"}, {})
    oops = (500, {}, {"error": {"message": "oops"}})
    server.plan = lambda body, number: busy if number <= 9 else oops if number == 10 else None
    made = run(tmp_path, server.url, concurrency=1)
    assert (made.values.errors, len(server.asked)) == (0, len(PROMPTS) + 10)


def test_a_prompt_whose_every_try_is_a_server_error_is_recorded(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.server.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: (500, {}, {}) if body["messages"][0]["content"] == "p 1" else None
    assert run(tmp_path, server.url).values.errors == 1
    assert len(server.asked) == len(PROMPTS) + SERVER_ERROR_ATTEMPTS - 1


def test_timeouts_conflicts_and_pages_of_a_proxy_are_tried_again(tmp_path, server):
    server.plan = lambda body, number: {1: (408, {}, {}), 2: (409, {}, {}), 3: (200, {}, {"ok": True})}.get(number)
    made = run(tmp_path, server.url)
    assert (made.values.errors, len(server.asked)) == (0, len(PROMPTS) + 3)


def test_a_limit_per_day_ends_the_stage_and_keeps_what_is_stored(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.server.REFUSED_STALLS", 0.5)
    server.plan = lambda body, number: (429, {"Retry-After": "0.05"}, {}) if number > 6 else None
    with pytest.raises(InfrastructureError, match=r"requests were refused as too many \(429\).* is stored"):
        run(tmp_path, server.url, external=True, stall_seconds=2)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert stored >= 6
    server.plan = lambda body, number: None
    server.asked.clear()
    assert run(tmp_path, server.url, external=True, uid="pod-b").values.responses == TOTAL
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - stored


MODERATED = (403, {}, {"error": {"message": "flagged by moderation"}})


def test_a_prompt_that_a_moderation_forbids_is_recorded_with_its_reason(tmp_path, server):
    server.plan = lambda body, number: MODERATED if body["messages"][0]["content"] == "p 3" else None
    made = run(tmp_path, server.url, external=True)
    assert [r.error for r in rows(tmp_path) if r.error] == ["403: flagged by moderation"]
    assert (made.values.responses, made.values.errors) == (TOTAL - 1, 1)


def test_a_key_that_may_do_nothing_ends_the_stage(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.server.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: MODERATED
    with pytest.raises(UserError, match="answered 403: flagged"):
        run(tmp_path, server.url, external=True)


def test_a_key_that_is_withdrawn_ends_the_stage(tmp_path, server):
    server.plan = lambda body, number: MODERATED if number > 3 else None
    with pytest.raises(UserError, match="answered 403: flagged"):
        run(tmp_path, server.url, external=True, concurrency=1, samples_per_prompt={"d0": 40, "d1": 1})


def test_two_wedged_servers_behind_one_address_are_no_sign_of_life():
    counts = itertools.cycle([1000.0, 500.0])

    async def count():
        return next(counts)

    with pytest.raises(ServerWedgedError, match="no token accepted"):
        asyncio.run(asyncio.wait_for(watch(Heartbeat(), 0.2, "no token accepted", count), 5))


def test_a_refused_prompt_is_recorded_with_its_reason(tmp_path, server):
    refusal = (400, {}, {"error": {"message": "maximum context length is 256 tokens"}})
    server.plan = lambda body, number: refusal if body["messages"][0]["content"] == "p 3" else None
    made = run(tmp_path, server.url)
    (failed,) = [r for r in rows(tmp_path) if r.error]
    assert (failed.prompt_id, failed.finish_reason, failed.text) == (PROMPTS[3].prompt_id, "error", "")
    assert failed.error == "400: maximum context length is 256 tokens"
    assert made.values.errors == 1


def test_a_strange_finish_reason_is_an_error_with_its_reason(tmp_path, server):
    answer = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    strange = {"p 1": answer, "p 3": []}

    def plan(body, number):
        prompt = body["messages"][0]["content"]
        return (200, {}, strange[prompt]) if prompt in strange else None

    server.plan = plan
    run(tmp_path, server.url)
    assert len(server.asked) == len(PROMPTS) + 2  # what is no completion at all may be a proxy's page
    errors = sorted(r.error for r in rows(tmp_path) if r.error)
    assert errors[0] == "finish_reason content_filter"
    assert errors[1].startswith("not a chat completion")


def test_a_server_that_refuses_everything_is_the_users_error_and_leaves_no_rows(tmp_path, server):
    server.plan = lambda body, number: (400, {}, {"error": {"message": "System role not supported"}})
    with pytest.raises(UserError, match="'qwen': not one of 24 requests was answered: 400: System role not supported"):
        run(tmp_path, server.url)
    assert not list((tmp_path / "out" / "parts").iterdir())
    server.plan = lambda body, number: None
    assert run(tmp_path, server.url).values.responses == TOTAL


def test_a_server_that_knows_no_n_is_asked_one_by_one(tmp_path, server):
    server.plan = lambda body, number: (400, {}, {"error": {"message": "n must be 1"}}) if body["n"] > 1 else None
    assert run(tmp_path, server.url).values.responses == TOTAL


def test_a_server_that_gives_fewer_samples_is_asked_for_the_rest(tmp_path, server):
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    answer = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    server.plan = lambda body, number: (200, {}, answer) if body["n"] > 1 else None
    made = run(tmp_path, server.url)
    assert (made.values.responses, len(server.asked)) == (TOTAL, 6 * 3 + 6)
    assert sum(r.completion_tokens == 3 for r in rows(tmp_path)) == 6


def test_missing_samples_are_asked_in_runs():
    done = {("p", 1), ("p", 4), ("p", 5)}
    assert list(generate.missing(done, "p", 8)) == [range(1), range(2, 4), range(6, 8)]
    assert list(generate.missing(set(), "p", 20)) == [range(16), range(16, 20)]
    assert list(generate.missing(set(), "p", 0)) == []
    assert list(generate.missing(done | {("p", n) for n in range(8)}, "p", 8)) == []


def test_a_wrong_key_ends_at_once(tmp_path, server, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    server.plan = lambda body, number: (401, {}, {"error": {"message": "bad key"}})
    with pytest.raises(UserError, match="answered 401: bad key"):
        run(tmp_path, server.url, api_key_env="KEY")
    assert len(server.asked) <= 4
    assert server.asked[0][1]["Authorization"] == "Bearer secret"


def test_a_server_without_our_extra_parameters_is_asked_without_the_neutral_ones(tmp_path, server):
    def plan(body, number):
        return (400, {}, {"error": {"message": "Unrecognized request argument: top_k"}}) if "top_k" in body else None

    server.plan = plan
    assert run(tmp_path, server.url).values.responses == TOTAL
    assert all("repetition_penalty" in body for _, _, body in server.asked)


def half_an_emoji(body, number):
    """Answer one prompt with it, refuse another with it, and end a third one's for a reason with it."""
    asked = body["messages"][0]["content"]
    message = {"role": "assistant", "content": "half an emoji \ud83d" if asked == "p 1" else "whole"}
    reason = "half \ud83d" if asked == "p 5" else "stop"
    if asked == "p 3":
        return 400, {}, {"error": {"message": "refused \ud83d"}}
    choices = [{"index": index, "message": message, "finish_reason": reason} for index in range(body["n"])]
    return 200, {}, {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


def test_half_an_emoji_in_a_reply_ends_no_stage_and_is_read_again(tmp_path, server):
    server.plan = half_an_emoji
    with pytest.MonkeyPatch.context() as patch:  # the pod dies after the last reply, before the shard is written
        patch.setattr(generate, "write_rows", lambda *_: (_ for _ in ()).throw(OSError("the node is gone")))
        with pytest.raises(OSError, match="the node is gone"):
            run(tmp_path, server.url)
    asked = len(server.asked)
    made = run(tmp_path, server.url, uid="successor")
    assert len(server.asked) == asked, "what is stored is not asked for again"
    found = {row.prompt_id: row for row in rows(tmp_path)}
    by_prompt = {prompt.prompt: found[prompt.prompt_id] for prompt in PROMPTS}
    assert by_prompt["p 1"].text == "half an emoji \ufffd"
    assert by_prompt["p 3"].error == "400: refused \ufffd"
    assert by_prompt["p 5"].error == "finish_reason half \ufffd"
    assert made.values.requests == TOTAL
