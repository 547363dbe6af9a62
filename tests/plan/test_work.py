"""Stages with the same work are expected to take as long."""

import pytest

from fusionrun.api.stage import StageKind
from fusionrun.plan.build import build_plan
from fusionrun.plan.work import work_digest
from support.plans import filled
from support.runs import make_spec

TRAINED = {"sft", "dpo", "promote"}


def digests(change=None):
    spec = make_spec()
    if change:
        change(spec)
    full = filled(**spec)
    return {s.name: digest for s in build_plan(full).stages if (digest := work_digest(full, s))}


def training(**fields):
    return lambda spec: spec["training"].update(fields)


CASES = {
    "nothing": (lambda _: None, set()),
    "the seeds": (lambda spec: spec["training"].update(seed=7), set()),
    "the strength of DPO": (training(dpo={"beta": 3.0, "learningRate": 1e-7}), set()),
    "the limits of GPUs": (lambda spec: spec.update(scheduling={"gpuBudget": 8}), set()),
    "the epochs of SFT": (training(sft={"epochs": 9}), {"sft"}),
    "the nodes of training": (training(nodes=4), TRAINED),
    "the replicas of a server": (lambda spec: spec["sources"][0]["served"].update(replicas=2), {"serve/ada"}),
}


@pytest.mark.parametrize(("change", "changed"), CASES.values(), ids=CASES)
def test_only_what_changes_the_time_changes_the_work(change, changed):
    before, after = digests(), digests(change)
    assert {name for name, digest in before.items() if after[name] != digest} == changed


def test_the_models_of_a_run_that_trains_have_the_same_work():
    found = digests()
    assert len({found[f"serve/eval-{model}"] for model in ("base", "sft", "final")}) == 1
    assert len({found[name] for name in ("serve/ada", "serve/bob", "score/ada", "sft", "dpo", "promote")}) == 6


def test_a_stage_with_a_server_has_no_work_of_its_own():
    assert not [name for name in digests() if name.startswith(StageKind.GENERATE)]
