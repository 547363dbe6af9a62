"""Warnings on valid specs: fields that do not have the expected effect."""

from dataclasses import replace

import pytest

from fusionrun.cli.faults import DEFAULT_SETTINGS, read_spec
from fusionrun.plan.build import build_plan
from fusionrun.plan.spec_warnings import spec_warnings
from fusionrun.settings import Accelerators, Price
from support.runs import external_source, make_spec

GPU = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
PRICES = {"prompt": 1.0, "completion": 2.0}


def fields(changes, prices=()) -> list[str]:
    spec = read_spec(make_spec(**changes))
    settings = replace(DEFAULT_SETTINGS, accelerators=Accelerators(prices=prices))
    return [warning.field for warning in spec_warnings(spec, build_plan(spec), settings)]


@pytest.mark.parametrize(
    ("changes", "prices", "warned"),
    [
        ({}, (), False),
        ({"budget": {"maxGpuHours": 5}}, (), False),
        ({"training": GPU}, (), True),
        ({}, (Price("nvidia.com/gpu", 2.0),), True),
        ({"training": GPU}, (Price("nvidia.com/gpu", 2.0),), False),
        ({"training": GPU}, (Price("nvidia.com/gpu", 2.0, {"gpu": "h200"}),), True),
        ({"training": GPU}, (Price("nvidia.com/gpu", 0.0),), True),
        ({"sources": [external_source()]}, (), True),
        ({"sources": [external_source(prices=PRICES)]}, (), False),
    ],
    ids=[
        "no budget", "GPU hours", "no price", "no GPUs", "GPUs with a price", "a price for other nodes", "a price of 0",
        "endpoint without prices", "endpoint with prices",
    ],
)  # fmt: skip
def test_a_maximum_cost_without_prices(changes, prices, warned):
    budget = {} if "budget" in changes or not (changes or prices) else {"budget": {"maxCost": 5}}
    assert fields(changes | budget, prices) == (["budget.maxCost"] if warned else [])
