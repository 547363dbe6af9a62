"""Warnings on valid specs: fields that do not have the expected effect."""

from dataclasses import replace

import pytest

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.build import build_plan
from fusionrun.plan.spec_warnings import spec_warnings
from fusionrun.settings import Accelerators, Price
from support.plans import read
from support.runs import external_source, make_spec
from support.world import SETTINGS

GPU = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
PRICES = {"prompt": 1.0, "completion": 2.0}


def fields(changes, prices=()) -> list[str]:
    fields_of_spec = make_spec(**changes)
    written, spec = FusionRunSpec.model_validate(fields_of_spec), read(fields_of_spec)
    settings = replace(SETTINGS, accelerators=Accelerators(prices=prices))
    return [warning.field for warning in spec_warnings(written, spec, build_plan(spec), settings)]


@pytest.mark.parametrize(
    ("budget", "changes", "prices", "warned"),
    [
        ({}, {}, (), False),
        ({"maxGpuHours": 5}, {"training": GPU}, (), False),
        ({"maxCost": 5}, {"training": GPU}, (), True),
        ({"maxCost": 5}, {}, (Price("nvidia.com/gpu", 2.0),), True),
        ({"maxCost": 5}, {"training": GPU}, (Price("nvidia.com/gpu", 2.0),), False),
        ({"maxCost": 5}, {"training": GPU}, (Price("nvidia.com/gpu", 2.0, {"gpu": "h200"}),), True),
        ({"maxCost": 5}, {"training": GPU}, (Price("nvidia.com/gpu", 0.0),), True),
        ({"maxCost": 5}, {"sources": [external_source()]}, (), True),
        ({"maxCost": 5}, {"sources": [external_source(prices=PRICES)]}, (), False),
    ],
    ids=[
        "no budget", "GPU hours", "no price", "no GPUs", "GPUs with a price", "a price for other nodes", "a price of 0",
        "endpoint without prices", "endpoint with prices",
    ],
)  # fmt: skip
def test_a_maximum_cost_without_prices(budget, changes, prices, warned):
    assert fields(changes | {"budget": budget}, prices) == (["budget.maxCost"] if warned else [])


SFT, DPO = "training.sft.learningRate", "training.dpo.learningRate"


@pytest.mark.parametrize(
    ("training", "warned"),
    [
        ({}, []),
        ({"lora": {"rank": 8}}, [SFT, DPO]),
        ({"lora": {"rank": 8}, "sft": {"learningRate": 2e-4, "epochs": 1}, "dpo": {"beta": 1}}, [DPO]),
        ({"lora": {"rank": 8}, "sft": {"epochs": 1}, "dpo": {"learningRate": 8e-7}}, [SFT]),
        ({"lora": {"rank": 8}, "sft": {"learningRate": 2e-4}, "dpo": {"learningRate": 5e-5}}, []),
    ],
    ids=["all weights", "no rate", "that of SFT", "that of DPO, the recipe's", "both rates"],
)
def test_adapters_with_the_learning_rates_of_the_recipe(training, warned):
    assert fields({"training": training}) == warned


LOCKED = {"pod": {"ipcLock": True}}


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"training": {"pod": {"ipcLock": False}}}, []),
        ({"training": LOCKED}, ["training.pod.ipcLock"]),
        ({"training": LOCKED, "dataStages": LOCKED}, ["training.pod.ipcLock", "dataStages.pod.ipcLock"]),
    ],
    ids=["none", "training", "two parts"],
)
def test_pods_that_the_pod_security_standards_refuse(changes, warned):
    assert fields(changes) == warned
