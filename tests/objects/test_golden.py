"""The plans and objects of the samples. ``UPDATE_GOLDEN=1`` refreshes the files; review their diff."""

import json

import pytest

from support.golden import GOLDEN, compare, objects_of, one_of_each_kind, pinned_of, plan_text, text_of

CASES = ["tiny", "llama-3-1-8b"]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The pinned plan of a sample. Its spec is JSON, since these tests have no YAML parser; tests/crd compares them."""
    run = json.loads((GOLDEN / request.param / "run.json").read_text())
    return request.param, pinned_of(run["metadata"]["name"], run["spec"])


def test_the_plan_of_a_sample(case):
    name, pinned = case
    compare(GOLDEN / name / "plan.yaml", plan_text(pinned))


def test_the_objects_of_a_sample_one_stage_of_each_kind(case):
    name, pinned = case
    compare(GOLDEN / name / "objects.yaml", text_of(objects_of(pinned, one_of_each_kind(pinned))))
