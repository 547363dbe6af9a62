"""judge: every request is sent once and its reply kept, also if a pod is killed."""

import json
import random
import re
import signal
import socket
import time
from dataclasses import replace

import httpx
import pytest

from fusionrun.api.artifacts import canonical
from fusionrun.api.results.values import Judged
from fusionrun_stages import judge
from fusionrun_stages.errors import InfrastructureError, ServerStalledError, UserError
from fusionrun_stages.volume.paths import shard_path
from support.generation import error, start_pod
from support.judging import ANSWERS, CALLS, JudgeServer, make_judging, open_orders, protocol, rows, run
from support.replies import running


@pytest.fixture
def server():
    with running(JudgeServer()) as replies:
        yield replies


@pytest.fixture(autouse=True)
def _invented_protocol(monkeypatch):
    monkeypatch.setattr(judge, "open_judge", open_orders)
    monkeypatch.setattr("fusionrun_stages.client.retries.WAIT_MAX_SECONDS", 0.001)


def bodies(server):
    return [body for _, _, body in server.requests]


def attempts(server):
    return [len(body["messages"]) // 2 - 1 for body in bodies(server)]


def test_every_call_and_every_further_attempt_is_sent_once_and_stored_in_order(tmp_path, server):
    made = run(tmp_path, server.url)
    found = rows(tmp_path)
    first = [row for row in found if row.attempt == 0]
    judged = [answer for answer in ANSWERS if answer.dataset != "sums"]
    assert [(row.prompt_id, row.call) for row in first] == [(a.prompt_id, call) for a in judged for call in (0, 1)]
    assert found == sorted(found, key=lambda row: (row.prompt_id, row.sample_index, row.call, row.attempt))
    assert len(found) == len(server.requests) > CALLS == len(first)
    assert {(row.source, row.model) for row in found} == {("base", "judge-1-2024")}
    assert made.details["answered_by"] == {"judge-1-2024": len(found)}
    assert made.files == ["judgements/00000-of-00002.parquet"]
    tokens = {"prompt_tokens": 100 * len(found), "completion_tokens": 10 * len(found)}
    assert made.values == Judged(judgements=len(found), **tokens)
    assert sum(attempts(server)) == len(found) - CALLS
    assert not list((tmp_path / "out" / "parts").iterdir())


@pytest.mark.parametrize(
    ("external", "request_fields", "expected"),
    [
        (True, {}, {"temperature": 0.0, "max_tokens": 256}),
        (True, {"max_tokens": None}, {"temperature": 0.0}),
        (True, {"max_tokens": 1, "temperature": 1.0, "top_logprobs": 5},
         {"temperature": 1.0, "max_tokens": 1, "logprobs": True, "top_logprobs": 5}),
        (False, {}, {"temperature": 0.0, "max_tokens": 256, "chat_template_kwargs": {"date_string": "26 Jul 2024"}}),
    ],
)  # fmt: skip
def test_a_request_has_the_sampling_of_the_protocol_and_nothing_else(
    tmp_path, server, external, request_fields, expected
):
    given = protocol()["judge"] | request_fields
    benchmarks = [{"name": "arena", "grader": "ArenaHard", "protocol": protocol(judge=given)}]
    run(tmp_path, server.url, external=external, benchmarks=benchmarks)
    for body in bodies(server):
        assert {name: value for name, value in body.items() if name != "messages"} == {"model": "judge-1"} | expected
    for row in rows(tmp_path):
        assert (json.loads(row.logprobs) if row.logprobs else None) == (
            {"m": -0.25, "M": -1.5} if "logprobs" in expected else None
        )


def test_a_row_has_the_hash_of_judge_messages_and_sampling(tmp_path, server):
    run(tmp_path, server.url, external=True, concurrency=1)
    keys = {canonical(body["messages"]): row.key for body, row in zip(bodies(server), rows(tmp_path), strict=True)}
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys.values())
    assert len(set(keys.values())) == len(keys)
    changes = ({"external": False}, {"model": "judge-2"}, {"external": True})
    again = []
    for number, change in enumerate(changes):
        run(tmp_path / str(number), server.url, **{"external": True} | change)
        again.append({row.key for row in rows(tmp_path / str(number))})
    assert not again[0] & set(keys.values())
    assert not again[1] & set(keys.values())
    assert again[2] == set(keys.values())


def test_identical_requests_are_sent_once_and_their_tokens_are_counted_once(tmp_path, server):
    copies = [answer.model_copy(update={"sample_index": n}) for answer in ANSWERS for n in range(3)]
    server.delay = 0.02
    made = run(tmp_path, server.url, answers=copies)
    found = rows(tmp_path)
    by_sample = [
        [(r.prompt_id, r.call, r.attempt, r.key, r.text) for r in found if r.sample_index == n] for n in range(3)
    ]
    assert by_sample[0] == by_sample[1] == by_sample[2]
    assert len(server.requests) == len(by_sample[0])
    assert made.values.judgements == 3 * len(server.requests)
    assert made.values.prompt_tokens == 100 * len(server.requests)
    assert [row.prompt_tokens for row in found if row.sample_index] == [0] * 2 * len(server.requests)


def test_failed_and_empty_responses_are_not_judged_and_vague_replies_are_counted(tmp_path, server):
    changed = list(ANSWERS)
    changed[0] = changed[0].model_copy(update={"finish_reason": "error", "error": "500", "text": ""})
    changed[2] = changed[2].model_copy(update={"text": ""})  # the protocol has no call for it
    changed[3] = changed[3].model_copy(update={"text": "vague"})
    changed[5] = changed[5].model_copy(update={"finish_reason": "length"})
    made = run(tmp_path, server.url, answers=changed)
    by_prompt = [[row for row in rows(tmp_path) if row.prompt_id == answer.prompt_id] for answer in changed]
    assert [len(by_prompt[n]) for n in (0, 1, 2)] == [0, 0, 0]
    assert [(row.call, row.attempt) for row in by_prompt[3]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert by_prompt[5]
    assert made.values.unparsed == 2
    assert made.details["unparsed"] == {"arena": 2, "chat": 0}
    example = {"benchmark": "arena", "prompt_id": changed[3].prompt_id, "reply": "I cannot say."}
    assert made.details["unparsed_examples"] == [example]


def test_examples_of_benchmarks_that_must_not_be_shown_are_not_kept(tmp_path, server):
    vague = [answer.model_copy(update={"text": "vague"}) for answer in ANSWERS]
    hidden = [{"name": "arena", "grader": "ArenaHard", "protocol": protocol(shows_examples=False)}]
    made = run(tmp_path, server.url, answers=vague, benchmarks=hidden)
    assert made.values.unparsed == 8
    assert made.details["unparsed_examples"] == []


def test_an_empty_shard_gives_an_empty_file(tmp_path, server):
    assert run(tmp_path, server.url, shard=1).values == Judged()
    assert rows(tmp_path, 1) == []
    assert server.requests == []


def test_a_failed_request_is_stored_and_no_protocol_asks_again(tmp_path, server):
    server.plan = lambda body, number: error(400, "too long") if "answer 3" in str(body["messages"]) else None
    made = run(tmp_path, server.url)
    failed = [row for row in rows(tmp_path) if row.finish_reason == "error"]
    assert [(row.prompt_id, row.call, row.attempt) for row in failed] == [(ANSWERS[3].prompt_id, n, 0) for n in (0, 1)]
    assert {row.error for row in failed} == {"400: too long"}
    assert (made.values.errors, made.values.unparsed) == (2, 2)


def test_429_is_sent_again_until_it_succeeds(tmp_path, server):
    server.plan = lambda body, number: (429, {"Retry-After": "0"}, {}) if number % 3 == 0 else None
    made = run(tmp_path, server.url, external=True)
    assert made.values.errors == 0
    assert made.values.judgements == len({row.key for row in rows(tmp_path)})


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (error(400, "long"), UserError, r"evaluation.judge \(judge-1\): none of \d+ requests succeeded: 400: long"),
        (error(401, "no key"), UserError, "answered 401: no key"),
        (error(500, "broken"), InfrastructureError, "none of .* requests succeeded: 500: broken"),
        ((200, {}, {"choices": [{"message": {"content": " "}, "finish_reason": "length"}]}), UserError,
         "none of 32 replies has a text, 32 were truncated"),
        (error(400, "not with this model", param="temperature", code="unsupported_value"), UserError,
         "evaluation.judge: judge-1 rejects temperature = 0.0"),
    ],
)  # fmt: skip
def test_a_judge_that_answers_nothing_fails_the_stage_and_a_corrected_one_is_asked_again(
    tmp_path, server, reply, kind, message
):
    server.plan = lambda body, number: reply
    with pytest.raises(kind, match=message):
        run(tmp_path, server.url, external=True)
    server.plan = lambda body, number: None
    assert run(tmp_path, server.url, external=True, uid="pod-b").values.errors == 0


def test_a_judge_without_log_probabilities_fails_the_stage_if_every_protocol_reads_them(tmp_path, server):
    request = protocol()["judge"] | {"top_logprobs": 5}
    benchmarks = [
        {"name": name, "grader": "ArenaHard", "protocol": protocol(judge=request)} for name in ("arena", "chat")
    ]
    server.plan = lambda body, number: (200, {}, {"choices": [{"message": {"content": "m"}, "finish_reason": "stop"}]})
    with pytest.raises(UserError, match="none of 32 replies can be used, 32 have no log-probabilities"):
        run(tmp_path, server.url, benchmarks=benchmarks)
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_useless_replies_end_the_stage_early(tmp_path, server):
    many = [answer.model_copy(update={"sample_index": n, "text": f"{n}"}) for answer in ANSWERS for n in range(50)]
    server.plan = lambda body, number: error(422, "no")
    with pytest.raises(UserError, match="none of"):
        run(tmp_path, server.url, answers=many)
    assert len(server.requests) < 80


def test_a_judge_that_wants_the_other_name_of_the_limit_gets_it_and_the_sampling_stays(tmp_path, server):
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."

    def plan(body, number):
        return error(400, message, param="max_tokens", code="unsupported_parameter") if "max_tokens" in body else None

    run(tmp_path / "plain", server.url, external=True)
    server.plan = plan
    server.requests.clear()
    made = run(tmp_path, server.url, external=True)
    assert made.values.errors == 0
    accepted = [body for body in bodies(server) if "max_tokens" not in body]
    assert {(body["max_completion_tokens"], body["temperature"]) for body in accepted} == {(256, 0.0)}
    assert rows(tmp_path) == rows(tmp_path / "plain")


def test_a_successor_sends_only_what_is_not_stored(tmp_path, server):
    run(tmp_path / "whole", server.url)
    server.plan = lambda body, number: "hang" if number > len(server_whole) + 5 else None
    server_whole = list(server.requests)
    with pytest.raises(ServerStalledError):
        run(tmp_path, server.url, stall_seconds=1)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert stored == 5
    with part.open("ab") as file:
        file.write(b'{"prompt_id": "torn')
    server.hanging.set()
    server.plan = lambda body, number: None
    server.requests.clear()
    made = run(tmp_path, server.url, uid="pod-b")
    assert len(server.requests) == len(server_whole) - stored == made.details["asked_by_this_pod"]
    assert rows(tmp_path) == rows(tmp_path / "whole")


def test_a_complete_file_without_a_manifest_is_not_requested_again(tmp_path, server):
    first = run(tmp_path, server.url, prices={"prompt": 1.0, "completion": 2.0})
    server.requests.clear()
    again = run(tmp_path, server.url, uid="pod-b", prices={"prompt": 1.0, "completion": 2.0})
    assert server.requests == []
    assert again.values == first.values


@pytest.mark.parametrize("quota", [{"maxRequests": 12}, {"maxTokens": 1000}, {"maxCost": 0.001}])
def test_a_used_up_quota_ends_the_stage_and_a_larger_one_continues(tmp_path, server, quota):
    given = {"external": True, "concurrency": 1, "prices": {"prompt": 1.0, "completion": 2.0}}
    field = next(iter(quota))
    with pytest.raises(UserError, match=rf"evaluation.judge \(judge-1\): endpoint.quota.{field}: .* replies stored"):
        run(tmp_path, server.url, quota=quota, **given)
    before = len(server.requests)
    assert 5 <= before <= 10
    made = run(tmp_path, server.url, uid="pod-b", **given)
    assert len(server.requests) == made.values.judgements
    assert made.values.cost_micro == made.values.judgements * (100 * 1.0 + 10 * 2.0)


def test_progress_counts_calls_and_cost(tmp_path, server):
    reports = []
    work = make_judging(tmp_path, server.url, external=True, prices={"prompt": 1.0, "completion": 2.0})
    judge.run(replace(work, report=lambda *progress, **numbers: reports.append((progress, numbers))))
    progress, numbers = reports[-1]
    assert progress == (CALLS, CALLS, "judged calls")
    assert numbers["cost_micro"] == 120 * len(server.requests)


def test_metrics_name_the_judge_stage(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("FUSIONRUN_METRICS_PORT", str(port))
    pages = []

    def plan(body, number):
        if number == 10:
            pages.append(httpx.get(f"http://127.0.0.1:{port}/metrics").text)

    server.plan = plan
    run(tmp_path, server.url, concurrency=1)
    assert 'fusionrun_judge_judgements_total{finish_reason="stop",source="base"} 9.0' in pages[0]
    assert 'fusionrun_judge_tokens_total{kind="prompt",source="base"} 900.0' in pages[0]


def test_a_judging_killed_at_random_times_writes_the_same_bytes_and_repeats_only_requests_in_flight(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = shard_path(tmp_path / "whole" / "out" / "judgements", 0, 2).read_bytes()
    total = len(server.requests)
    server.requests.clear()
    server.delay = 0.03
    task = make_judging(tmp_path, server.url, concurrency=2).task
    choice, code, kills = random.Random(7), None, 0
    for attempt in range(20):
        with start_pod(tmp_path, f"pod-{attempt}", task, "support.judging", "judge") as process:
            enough = len(server.requests) + choice.randint(1, 8)
            while process.poll() is None and (attempt >= 3 or len(server.requests) < enough):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == 0:
            break
        kills += 1
    assert code == 0
    assert kills
    assert shard_path(tmp_path / "out" / "judgements", 0, 2).read_bytes() == expected
    assert total <= len(server.requests) <= total + 2 * kills
    assert (tmp_path / "out" / "manifests" / "00000-of-00002.json").is_file()
