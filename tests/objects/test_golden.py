"""The plan and the objects of the samples, line by line. ``UPDATE_GOLDEN=1`` rewrites the files; review the diff."""

import json

import pytest

from fusionrun.api.stage import StageKind
from support.golden import GOLDEN, compare_folder, plan_text, texts_by_kind
from support.plans import pinned_of

EVERY_KIND = {"run-objects", *StageKind}
SHOWN = {
    "tiny": EVERY_KIND - {StageKind.FETCH, StageKind.JUDGE},
    "llama-3-1-8b": {"fetch", "prepare", "serve", "score", "sft", "dpo", "judge"},
    "evaluate-only": {"fetch"},
}
"""The files of each sample: tiny is complete, the others have the kinds with a different shape.

The second differs by models and data sets of a hub, presets, GPUs, a reward model with remote code, one training node
and a judge. The third only evaluates models.
"""


@pytest.mark.parametrize("sample", SHOWN)
def test_the_plan_and_the_objects_of_a_sample(sample):
    """The sample is read as JSON, since these tests have no YAML library; tests/crd compares it with the manifest."""
    run = json.loads((GOLDEN / sample / "run.json").read_text())
    pinned = pinned_of(run["metadata"]["name"], run["spec"])
    objects = texts_by_kind(pinned)
    shown = {f"{kind}.yaml": objects[f"{kind}.yaml"] for kind in sorted(SHOWN[sample])}
    compare_folder(GOLDEN / sample, {"plan.yaml": plan_text(pinned), **shown})


def test_every_kind_has_a_golden_file():
    assert set().union(*SHOWN.values()) == EVERY_KIND
