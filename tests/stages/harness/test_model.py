"""The requests that lm-eval makes of a model: samples, identical requests, and a server that rejects them all."""

import json
from types import SimpleNamespace

import pytest

from fusionrun.api.tasks.harness import HarnessModel
from fusionrun_stages.client.counts import USELESS_MAX
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.answers import StoredAnswers
from fusionrun_stages.harness.model import MeasuredModel
from support.harness import COLOURS, SUMS, server_of, serving

GREEDY, SAMPLED = {"until": ["\n"]}, {"do_sample": True, "temperature": 0.7}


def request(*args):
    return SimpleNamespace(args=args)


def with_model(tmp_path, server, ask, uid="pod", **fields):
    with serving(server) as url, StoredAnswers(tmp_path, "b", uid) as answers:
        served = HarnessModel(base_url=f"{url}/v1", model="m", concurrency=4, stall_seconds=600)
        fields = {"chat": True, "max_tokens": None, "field": "f"} | fields
        return ask(MeasuredModel(served, answers, lambda *_, **__: None, **fields))


def conversation(model, number):
    return model.apply_chat_template([{"role": "user", "content": SUMS[number]["question"]}])


def test_samples_have_seeds_and_identical_greedy_requests_are_sent_once(tmp_path):
    server = server_of()

    def ask(model):
        prompt, other = conversation(model, 1), conversation(model, 2)
        greedy = [request(prompt, GREEDY), request(other, GREEDY), request(prompt, GREEDY)]
        return model.generate_until([*greedy, *[request(prompt, SAMPLED)] * 3])

    replies = with_model(tmp_path, server, ask)
    assert replies == ["It is 2.", "It is 4.", *["It is 2."] * 4]
    assert server.paths.total() == 2 + 3
    seeds = [body.get("seed") for body in server.bodies]
    assert seeds.count(None) == 2
    assert len(set(seeds)) == 1 + 3

    again = server_of()
    assert with_model(tmp_path, again, ask, uid="another-pod") == replies
    assert not again.paths


def test_the_model_continues_the_beginning_of_a_response(tmp_path):
    server = server_of()

    def ask(model):
        turns = [{"role": "user", "content": SUMS[1]["question"]}, {"role": "assistant", "content": "It"}]
        return model.generate_until([request(model.apply_chat_template(turns, add_generation_prompt=False), GREEDY)])

    with_model(tmp_path, server, ask)
    (body,) = server.bodies
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert [message["content"] for message in body["messages"]] == [SUMS[1]["question"], "It"]


def test_a_text_without_a_conversation(tmp_path):
    """Requests for mutual information have no context."""
    server = server_of({COLOURS[0]["question"]: "red"})
    server.refuse = lambda path, _body: (400, "no context") if path == "/v1/completions" else None
    with pytest.raises(UserError, match="none of 1 requests succeeded: 400: no context"):
        with_model(tmp_path, server, lambda model: model.loglikelihood([request("", "red")]))
    assert server.bodies == []
    assert server.paths["/detokenize"] == 0


def test_a_server_that_rejects_the_first_requests_is_not_sent_the_others(tmp_path):
    server = server_of(refuse=lambda *_: (400, "unknown field"))
    with pytest.raises(UserError, match=r"f: none of 6\d requests succeeded: 400: unknown field"):
        with_model(
            tmp_path,
            server,
            lambda model: model.generate_until([request(f"question {n}", GREEDY) for n in range(300)]),
            chat=False,
        )
    assert server.paths.total() < USELESS_MAX + 4
    assert not list(tmp_path.iterdir())


def test_replies_survive_a_line_that_was_cut(tmp_path):
    part = tmp_path / "lm-eval.b.first.jsonl.part"
    part.write_bytes(b'{"key": "a", "kind": "Text", "text": "x"}\n{"key": "b", "ki')
    with StoredAnswers(tmp_path, "b", "first") as answers:
        assert [answer.key for answer in answers] == ["a"]
    lines = part.read_bytes().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a"]
