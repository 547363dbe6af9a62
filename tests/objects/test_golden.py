"""What the samples render to, line by line. ``UPDATE_GOLDEN=1`` refreshes the files; review their diff."""

import json

import pytest

from support.golden import GOLDEN, compare, layout_of, objects_of, one_of_each_kind, plan_text, text_of

CASES = ["tiny", "llama-3-1-8b"]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A sample's spec, as JSON since the pure rooms' tests know no YAML; tests/crd compares it with the sample."""
    run = json.loads((GOLDEN / request.param / "run.json").read_text())
    return request.param, layout_of(run["metadata"]["name"], run["spec"])


def test_the_plan_of_a_sample(case):
    name, layout = case
    compare(GOLDEN / name / "plan.yaml", plan_text(layout))


def test_the_objects_of_a_sample_one_stage_of_each_kind(case):
    name, layout = case
    compare(GOLDEN / name / "objects.yaml", text_of(objects_of(layout, one_of_each_kind(layout))))
