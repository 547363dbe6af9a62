"""Joining responses with their prompts, and batches of them."""

import pytest

from fusionrun.api.records import Prompt, Response, VerdictValue
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.grading import exact_match, judging


def prompt(name):
    return Prompt(prompt_id=name, dataset="d", task="Mathematics", prompt="?")


def response(name, text=""):
    return Response(prompt_id=name, dataset="d", source="s", sample_index=0, text=text, finish_reason="stop")


def test_a_batch_has_a_maximum_of_characters(monkeypatch):
    monkeypatch.setattr(judging, "BATCH_CHARACTERS", 100)
    questions = [judging.PromptResponses(prompt(str(n)), [response(str(n), "x" * 60)]) for n in range(5)]
    assert [len(batch) for batch in judging.make_batches(questions)] == [2, 2, 1]


@pytest.mark.parametrize("unsorted", ["prompts", "responses"])
def test_an_unsorted_shard_is_an_error(unsorted):
    names = {"prompts": ["a", "b"], "responses": ["a", "b"]} | {unsorted: ["b", "a"]}
    prompts, responses = [prompt(n) for n in names["prompts"]], [response(n) for n in names["responses"]]
    with pytest.raises(InfrastructureError, match="not sorted"):
        list(judging.join_responses(prompts, responses, ["d"]))


def test_exact_match_is_case_sensitive():
    assert exact_match.grade("Reference", "reference").verdict is VerdictValue.WRONG
