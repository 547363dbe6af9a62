"""The requests of the harness to a server: settings, tokens and likelihoods."""

import asyncio
import json

import pytest

from fusionrun_stages.client.server import ModelServer
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.prompts import Conversation, request_settings
from fusionrun_stages.harness.server import REPLY_BYTES, HarnessServer, read_likelihood
from support.harness import ASSISTANT, BEGIN, COLOURS, CUE, END, USER, server_of, serving

GREEDY = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 256, "stop": []}
QUESTION = COLOURS[0]["question"]
"""Its answer is red."""


@pytest.mark.parametrize(
    ("kwargs", "limit", "changes"),
    [
        ({}, None, {}),
        ({"until": "\n"}, None, {"stop": ["\n"]}),
        ({"until": ["</s>", "", "Q:"], "max_gen_toks": 2048}, None, {"stop": ["</s>", "Q:"], "max_tokens": 2048}),
        ({"max_new_tokens": 9, "max_gen_toks": 5}, None, {"max_tokens": 5}),
        ({"max_gen_toks": 5}, 7, {"max_tokens": 7}),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.9}, None, {}),
        ({"temperature": 0.7, "top_p": 0.9, "top_k": 5.0}, None, {"temperature": 0.7, "top_p": 0.9, "top_k": 5}),
        ({"do_sample": True, "temperature": "0.5"}, None, {"temperature": 0.5}),
    ],
)
def test_settings_of_a_generation(kwargs, limit, changes):
    assert request_settings(kwargs, limit, "f") == GREEDY | changes


def test_a_setting_that_is_no_number():
    with pytest.raises(UserError, match=r"benchmarks\[2\].*warm"):
        request_settings({"temperature": "warm"}, None, "evaluation.benchmarks[2]")


def _reply(*logprobs):
    return json.dumps({"choices": [{"prompt_logprobs": logprobs}]}).encode()


ONE = {"5": {"logprob": -0.5}}
OTHER_IS_LIKELIER = {"7": {"logprob": -2.0, "rank": 3}, "9": {"logprob": -0.1}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_reply(None, ONE, ONE), (-1.0, True)),
        (_reply(None, ONE, ONE | {"8": {"logprob": -0.5}}), (-1.0, True)),  # as likely
        (_reply(None, OTHER_IS_LIKELIER, ONE), None),  # other tokens than those that were sent
        (_reply(None, ONE), None),
        (_reply(None, None, ONE), None),
        (_reply(None, {"5": None}, ONE), None),
        (_reply(None, {"5": {"logprob": "x"}}, ONE), None),
        (b"<html>", None),
        (b"[]", None),
        (b'{"choices": [[]]}', None),
    ],
)
def test_likelihood_in_a_reply(content, expected):
    assert read_likelihood(content, [4, 5, 5], 1) == expected


def test_a_token_that_is_not_the_likeliest():
    assert read_likelihood(_reply(None, ONE, OTHER_IS_LIKELIER), [4, 5, 7], 1) == (-2.5, False)


def _likelihoods(server, requests):
    async def ask(url):
        async with ModelServer(f"{url}/v1", None, 2, None, REPLY_BYTES, external=False) as client:
            harness = HarnessServer(client, "m")
            return [await harness.likelihood("k", *request) for request in requests]

    with serving(server) as url:
        return asyncio.run(ask(url))


CHAT = Conversation.of([{"role": "user", "content": QUESTION}], is_open=False)
OPEN = Conversation.of(
    [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "It is "}], is_open=True
)
RENDERED = f"{BEGIN}{USER}\n{QUESTION}{END}\n{ASSISTANT}\n"


@pytest.mark.parametrize(
    ("prompt", "continuation", "sent", "counted"),
    [
        (CHAT, "red", f"{RENDERED}red", 4),  # the line break before it is counted, as lm-eval counts it
        (OPEN, "red", f"{RENDERED}It is red", 4),
        (f"{QUESTION}\n{CUE}", " red", f"{BEGIN}{QUESTION}\n{CUE} red", 4),
        (f"{QUESTION}\n{CUE} ", "red", f"{BEGIN}{QUESTION}\n{CUE} red", 4),
    ],
)
def test_tokens_of_a_continuation(prompt, continuation, sent, counted):
    server = server_of()
    (answer,) = _likelihoods(server, [(prompt, continuation)])
    assert "".join(map(chr, server.bodies[0]["prompt"])) == sent
    if prompt is not OPEN:  # the likeliest response of this server is the colour alone
        assert (answer.logprob, answer.greedy) == (-0.25 * counted, True)
    assert answer.error is None


def test_a_text_that_does_not_give_the_tokens_of_the_conversation():
    server = server_of()
    server.loses_special_tokens = True
    right, wrong = _likelihoods(server, [(CHAT, "red"), (CHAT, "blue")])
    assert "".join(map(chr, server.bodies[0]["prompt"])) == f"{RENDERED}red"
    assert (right.logprob, right.greedy, wrong.greedy) == (-0.75, True, False)


def test_a_context_is_tokenized_once():
    server = server_of()
    _likelihoods(server, [(CHAT, "red"), (CHAT, "blue"), (CHAT, "green")])
    assert server.paths == {"/tokenize": 3 + 3, "/detokenize": 1, "/v1/completions": 3}


def test_a_context_that_is_too_long_is_cut_at_its_beginning():
    server = server_of()
    server.max_model_len = len(QUESTION) + 10
    prompt = f"{'x' * 99}{QUESTION}\n{CUE}"
    answer, too_long = _likelihoods(server, [(prompt, " red"), (prompt, " red" * 99)])
    assert len(server.bodies[0]["prompt"]) == server.max_model_len - 1
    assert "".join(map(chr, server.bodies[0]["prompt"])).endswith(f"{CUE} red")
    assert answer.logprob == -1.0
    assert too_long.error == f"400: the continuation has more tokens than the server's limit of {len(QUESTION) + 9}"


def test_a_text_without_context_needs_a_token_before_it():
    server = server_of()
    server.refuse = lambda _path, body: body.update(add_special_tokens=False)  # a tokenizer without such a token
    with pytest.raises(UserError, match="without context"):
        _likelihoods(server, [("", "red")])
