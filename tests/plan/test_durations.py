"""The expected times of stages, which their order depends on."""

import pytest

from fusionrun.api.status.estimate import Basis, Estimate, ModelEstimate, StageEstimate
from fusionrun.plan.build import build_plan
from fusionrun.plan.durations import ASSUMED_SECONDS, LOAD_SECONDS, expected_seconds
from fusionrun.plan.kinds import StageKind
from support.plans import filled
from support.runs import make_spec

GPU = {"limits": {"nvidia.com/gpu": 4}}


def seconds(estimate=None, measured=None, **changes):
    spec = make_spec(**changes)
    for source in spec["sources"]:
        source["served"] |= {"resources": GPU, "tensorParallelSize": 4}
    for dataset in spec["datasets"]:
        dataset["maxPrompts"] = 1000
    full = filled(**spec)
    return expected_seconds(full, build_plan(full), estimate, measured or {})


def models(**sizes):
    fields = {"ada": "sources[ada].served.model", "bob": "sources[bob].served.model"}
    return Estimate(models=[ModelEstimate(field=fields[name], parameters=size) for name, size in sizes.items()])


def test_every_kind_has_a_time():
    assert set(ASSUMED_SECONDS) == set(StageKind)
    found = seconds()
    assert found["construct"] == ASSUMED_SECONDS[StageKind.CONSTRUCT]
    assert min(found.values()) > 0


def test_the_time_of_a_server_follows_from_the_size_of_its_model():
    found = seconds(models(ada=7_000_000_000, bob=70_000_000_000))
    ada, bob = (found[f"serve/{name}"] - LOAD_SECONDS for name in ("ada", "bob"))
    assert bob == pytest.approx(10 * ada)


def test_a_model_of_unknown_size_is_assumed_to_fill_its_gpus():
    assert seconds() == seconds(models(ada=60_000_000_000, bob=60_000_000_000))


def test_measured_steps_of_training_count():
    row = {"gpu_hours": 1, "seconds": 7777, "basis": Basis.MEASURED}
    found = seconds(Estimate(stages=[StageEstimate(kind="sft", **row), StageEstimate(kind="serve", **row)]))
    assert found["sft"] == 7777
    assert found["serve/ada"] == seconds()["serve/ada"]
    assert seconds(Estimate(stages=[StageEstimate(kind="sft", **row)]), {"sft": 99.0})["sft"] == 99
