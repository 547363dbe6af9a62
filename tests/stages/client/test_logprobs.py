"""The log-probabilities of the first token of a reply: OpenAI's and vLLM's form, and whatever else a server sends."""

import json

import pytest

from fusionrun_stages.client.completions import read_completion


def top(*pairs):
    return {"content": [{"top_logprobs": [{"token": token, "logprob": value} for token, value in pairs]}]}


LATER = {"top_logprobs": [{"token": "x", "logprob": -0.5}]}


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        (top(("m", -0.25), ("M", -1.5)), {"m": -0.25, "M": -1.5}),
        ({"content": [*top(("m", -1))["content"], LATER]}, {"m": -1.0}),
        (top(("m", -0.1), ("m", -9.0)), {"m": -0.1}),
        (top(("m", -9999.0), ("M", 0)), {"m": -9999.0, "M": 0.0}),
        (top(("m", float("nan")), ("M", float("-inf")), ("a", -(10**400)), ("b", "0"), ("c", True), (3, -1.0)), {}),
        (top(("\ud83d", -1.0)), {"\ufffd": -1.0}),
        ({"content": [None]}, {}),
        ({"content": [{"top_logprobs": ["m", None, {"token": "M"}]}]}, {}),
        ({"content": []}, {}),
        ({"content": None}, {}),
        ({"token_logprobs": [-1.0], "top_logprobs": [{"m": -1.0}]}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_logprobs_of_the_first_token(logprobs, expected):
    choice = {"message": {"content": "m"}, "finish_reason": "length", "logprobs": logprobs}
    sample = read_completion(json.dumps({"choices": [choice]}).encode(), 1).samples[0]
    assert sample.text == "m"
    assert sample.logprobs == expected
