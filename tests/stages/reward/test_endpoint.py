"""score with an endpoint: a local server with the replies of vLLM's /classify. Without torch."""

import sys

import pytest

from fusionrun.api.records import Message, Score
from fusionrun.api.results.values import Preflighted, Scored
from fusionrun.api.spec.reward import Calibration, CalibrationPair, ScoreRange
from fusionrun.api.stage import PreflightSubject
from fusionrun.api.tasks.parameters import PreflightParameters, RewardCheckParameters
from fusionrun.api.tasks.responses import RewardEndpointParameters, ScoreParameters
from fusionrun_stages import preflight, score
from fusionrun_stages.errors import InfrastructureError, ServerStalledError, UserError
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.work import Work
from support.replies import Replies, running
from support.stage import make_work, prompt, response, write_inputs

COUNT = 12
TOO_LONG = {"error": {"message": "This model's maximum context length is 64 tokens. However, you requested 99"}}


class RewardServer(Replies):
    """A reward model with the reward len(response) / 8 - 1."""

    path = "/reward"

    def answer_to(self, body):
        return classified(len(body["messages"][1]["content"]) / 8 - 1)


def classified(*numbers, tokens=9):
    data = [{"index": 0, "label": "LABEL_0", "probs": list(numbers), "num_classes": len(numbers)}]
    return {"object": "list", "model": "reward", "data": data, "usage": {"prompt_tokens": tokens}}


@pytest.fixture
def server():
    with running(RewardServer()) as reward:
        yield reward


def prepare(folder, url, *, calibration=None, history=None, **more):
    rows = [response("p", "word " * (i + 1), i) for i in range(COUNT)]
    rows += [response("p", "word ", COUNT), response("p", "cut", COUNT + 1, "length")]
    inputs = write_inputs(folder, [prompt("p", task="Instruction", prompt="Say it.", history=history)], rows)
    fields = {"base_url": url, "model": "reward", "concurrency": 3, "stall_seconds": 60} | more
    limits = {"batch_size": 3, "max_length": 50, "calibration": calibration}
    parameters = ScoreParameters(source="s", endpoint=RewardEndpointParameters(**fields), **inputs, **limits)
    return make_work(folder / "out", parameters, shard=0, uid="second")


def scores_of(work, made):
    return {row.sample_index: row.score_micro for row in read_rows(work.output / made.files[0], Score)}


def calibration_of(better, worse, low=-10, high=10):
    pair = CalibrationPair(prompt="Well?", better=better, worse=worse)
    return Calibration(pairs=[pair], score_range=ScoreRange(min=low, max=high))


def test_each_conversation_is_one_request_for_a_raw_reward(tmp_path, server, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    server.delay = 0.02
    work = prepare(tmp_path, server.url, api_key_env="KEY")
    made = score.run(work)
    expected = {i: round((5 * (i + 1) / 8 - 1) * 1e6) for i in range(COUNT)}
    assert scores_of(work, made) == expected | {COUNT: expected[0]}
    assert made.values == Scored(scored=COUNT + 1, unscored=1)
    assert made.details["endpoint"] == {"url": server.url, "model": "reward"}
    assert len(server.requests) == COUNT
    assert 1 < server.max_in_flight <= 3
    path, headers, body = server.requests[0]
    assert (path, headers["Authorization"]) == ("/reward/classify", "Bearer secret")
    assert (body["model"], body["use_activation"], body["add_generation_prompt"]) == ("reward", False, False)
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]
    assert not list((work.output / "parts").iterdir())


def test_the_server_gets_all_turns(tmp_path, server):
    turns = [("user", "Capital of France?"), ("assistant", "Paris"), ("user", "And of Peru?")]
    work = prepare(tmp_path, server.url, history=[Message(role=role, content=text) for role, text in turns[:2]])
    score.run(work)
    turns[2] = ("user", "Say it.")
    sent = [tuple((m["role"], m["content"]) for m in body["messages"]) for _, _, body in server.requests]
    assert sorted(sent) == sorted((*turns, ("assistant", "word " * (i + 1))) for i in range(COUNT))


def test_transient_failures_are_retried(tmp_path, server):
    early = {1: (429, {"Retry-After": "0.1"}, {}), 2: (503, {}, {}), 3: (500, {}, {}), 4: (200, {}, b"<html>")}
    server.plan = lambda body, number: early.get(number)
    work = prepare(tmp_path, server.url)
    assert score.run(work).values.scored == COUNT + 1
    assert len(server.requests) == COUNT + 4


def test_a_conversation_too_long_for_the_server_or_the_run_has_no_score(tmp_path, server):
    def plan(body, number):
        words = body["messages"][1]["content"].count("word")
        return (400, {}, TOO_LONG) if words == 12 else (200, {}, classified(1.0, tokens=51)) if words == 11 else None

    server.plan = plan
    work = prepare(tmp_path, server.url)
    made = score.run(work)
    assert set(scores_of(work, made)) == set(range(10)) | {COUNT}
    assert made.details["unscored"] == {"truncated": 1, "too_long": 2}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, {}, {"error": {"message": "bad key"}}), "answered 401: bad key"),
        ((404, {}, {"error": {"message": "no such model"}}), "answered 404: no such model"),
        ((422, {}, {"error": {"message": "no messages here"}}), "answered 422: no messages here"),
        ((200, {}, classified(0.5, 0.5)), "2 numbers"),
        ((200, {}, classified(float("nan"))), "one finite number"),
        ((200, {}, {"data": []}), "returned no classification"),
        ((200, {}, {"data": [{"probs": [0.5]}], "usage": {"prompt_tokens": 1e400}}), "returned no classification"),
    ],
    ids=["key", "model", "protocol", "classes", "nan", "nothing", "infinite count"],
)
def test_an_endpoint_that_is_not_a_reward_model_is_rejected(tmp_path, server, reply, message):
    server.plan = lambda body, number: reply
    with pytest.raises(UserError, match=message):
        score.run(prepare(tmp_path, server.url))
    assert len(server.requests) <= 2 * 3


def test_a_stalled_endpoint_ends_the_stage(tmp_path, server):
    server.delay = 3.0
    with pytest.raises(ServerStalledError, match="no score returned for"):
        score.run(prepare(tmp_path, server.url, stall_seconds=1))


def test_calibration_runs_before_any_score(tmp_path, server):
    made = score.run(prepare(tmp_path / "right", server.url, calibration=calibration_of("long answer", "no")))
    assert made.details["calibration"] == [{"better": 0.375, "worse": -0.75}]
    assert [body["messages"][0]["content"] for _, _, body in server.requests[:3]] == ["Well?", "Well?", "Say it."]
    server.requests.clear()
    with pytest.raises(UserError, match="wrong order"):
        score.run(prepare(tmp_path / "order", server.url, calibration=calibration_of("no", "long answer")))
    with pytest.raises(UserError, match="outside"):
        score.run(prepare(tmp_path / "scale", server.url, calibration=calibration_of("long answer", "no", 0, 1)))
    assert len(server.requests) == 4


def test_preflight_calibrates_a_reward_model_behind_an_endpoint(tmp_path, server):
    def check(calibration):
        called = RewardEndpointParameters(base_url=server.url, model="reward", concurrency=3, stall_seconds=60)
        reward = RewardCheckParameters(endpoint=called, max_length=50, calibration=calibration)
        parameters = PreflightParameters(subject=PreflightSubject.REWARD, reward=reward)
        return preflight.run(make_work(tmp_path, parameters, "preflight/reward"))

    made = check(calibration_of("long answer", "no"))
    assert made.values == Preflighted(pairs=1)
    assert made.details["endpoint"] == {"url": server.url, "model": "reward"}
    with pytest.raises(UserError, match="wrong order"):
        check(calibration_of("no", "long answer"))


def test_stored_scores_are_not_requested_again_and_the_file_is_the_same(tmp_path, server, monkeypatch):
    whole = prepare(tmp_path / "whole", server.url)
    expected = (whole.output / score.run(whole).files[0]).read_bytes()
    work = prepare(tmp_path / "interrupted", server.url)
    server.requests.clear()
    monkeypatch.setattr("fusionrun_stages.client.retries.SERVER_ERROR_ATTEMPTS", 1)
    server.plan = lambda body, number: (500, {}, {"error": {"message": "broken"}}) if number > 5 else None
    with pytest.raises(InfrastructureError, match="answered 500: broken"):
        score.run(Work(work.task, work.output, 0, "first", work.report))
    (part,) = (work.output / "parts").iterdir()
    kept = len(part.read_bytes().splitlines())
    assert 1 <= kept <= 5
    part.write_bytes(part.read_bytes() + b'{"plan": "torn')
    server.plan = lambda body, number: None
    server.requests.clear()
    made = score.run(work)
    assert len(server.requests) == COUNT - kept
    assert (work.output / made.files[0]).read_bytes() == expected


def test_an_endpoint_needs_no_torch(tmp_path, server, monkeypatch):
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    assert score.run(prepare(tmp_path, server.url)).values.scored == COUNT + 1


def test_a_surrogate_in_an_error_is_replaced(tmp_path, server):
    server.plan = lambda body, number: (400, {}, {"error": {"message": "half an emoji \ud83d"}})
    with pytest.raises(UserError, match="answered 400: half an emoji \ufffd"):
        score.run(prepare(tmp_path, server.url))
