"""From lm-eval's verdicts to the scores of questions and of a benchmark."""

from types import SimpleNamespace

import pytest

from fusionrun.api.tasks.harness import AnswerKind, HarnessAnswer
from fusionrun.api.tasks.protocol import Aggregation
from fusionrun_stages.errors import UserError
from fusionrun_stages.harness.loading import set_few_shot
from fusionrun_stages.harness.model import AnswerText, Likelihood
from fusionrun_stages.harness.scores import aggregate, question_scores, stored_samples


def text(value="yes", **fields):
    return AnswerText(HarnessAnswer(key="k", kind=AnswerKind.TEXT, text=value, **fields))


def likelihood(**fields):
    return Likelihood(HarnessAnswer(key="k", kind=AnswerKind.LIKELIHOOD, logprob=-1.0, **fields))


def sample(value, *replies, doc_id=0):
    names = {"doc_id": doc_id, "doc_hash": "a" * 64, "filter": "none", "metrics": ["acc"], "target": 1}
    requests = {"arguments": [("q", {})], "resps": [list(replies)], "filtered_resps": [replies[0]]}
    return names | requests | {"acc": value}


@pytest.mark.parametrize(
    ("value", "replies", "expected"),
    [
        (1.0, [text()], {"score": 100, "responses": 1, "characters": 3}),
        (0.25, [text(), text("maybe")], {"score": 25, "responses": 2, "characters": 4}),
        (True, [text("", finish_reason="length")], {"score": 100, "truncated": 1, "blank": 1}),
        (1.0, [text("", error="400: x", finish_reason="error")], {"score": 0, "failed": 1, "blank": 0}),
        (1.0, [likelihood(), likelihood()], {"score": 100, "responses": 1, "blank": 0, "characters": 0}),
        (1.0, [likelihood(error="x"), likelihood(error="x")], {"score": 0, "failed": 1}),
    ],
)
def test_score_of_a_question(value, replies, expected):
    (row,) = question_scores("b", ["acc,none"], {"task": [sample(value, *replies)]}, several=False)
    assert {name: getattr(row, name) for name in expected} == expected
    assert row.prompt_id == f"task:0:{'a' * 16}"
    assert row.group is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "b: metric acc,none of task: 1.5: must be a share from 0 to 1"),
        (-0.1, "must be a share"),
        (float("nan"), "nan: must be a share"),
        ((1, 2), r"\(1, 2\): must be a number"),
    ],
)
def test_values_that_are_no_share(value, message):
    with pytest.raises(UserError, match=message):
        list(question_scores("b", ["acc,none"], {"task": [sample(value, text())]}, several=True))


def test_score_of_a_group():
    samples = {"x": [sample(v, text(), doc_id=n) for n, v in enumerate([1, 0, 0, 0])], "y": [sample(1, text())]}
    rows = list(question_scores("b", ["acc,none"], samples, several=True))
    assert aggregate(rows, Aggregation.MEAN) == (40, {"x": 25, "y": 100})
    assert aggregate(rows, Aggregation.GROUP_MEANS) == (62.5, {"x": 25, "y": 100})


def test_stored_samples_keep_what_json_cannot():
    import numpy as np

    one = sample(
        np.float64(1), text("half of \ud83d an emoji".encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    )
    one["target"] = np.int64(3)
    one["arguments"] = [("\ud83d", {"until": ["x"]})]
    (row,) = stored_samples("b", {"task": [one]})
    assert (row.target, row.metrics) == ("3", '{"acc": 1.0}')
    assert row.requests == ['["\ufffd", {"until": ["x"]}]']


def task(own):
    settings = {"num_fewshot": own}
    return SimpleNamespace(
        get_config=settings.get, set_config=settings.__setitem__, set_fewshot_seed=lambda seed: None, settings=settings
    )


@pytest.mark.parametrize(
    ("own", "wanted", "expected"),
    [(None, None, 0), (5, None, 5), (5, 2, 2), (None, 3, 3), (0, None, 0), (0, 0, 0), (5, 0, 0)],
)
def test_number_of_examples(own, wanted, expected):
    one = task(own)
    assert set_few_shot(one, wanted, "f") == expected
    assert one.settings == {"num_fewshot": expected}


def test_a_task_that_is_defined_without_examples():
    with pytest.raises(UserError, match="f: fewShot: 5: the task is defined without examples"):
        set_few_shot(task(0), 5, "f")
