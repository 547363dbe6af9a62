"""Which resources count as GPUs, for how many, and what they cost."""

import pytest

from fusionrun.plan.gpus import cost_per_hour, devices, gpus_of
from fusionrun.settings import Accelerators, Price


@pytest.mark.parametrize(
    ("resource", "gpus"),
    [
        ("nvidia.com/gpu", 1),
        ("amd.com/gpu", 1),
        ("nvidia.com/gpu.shared", 1),
        ("nvidia.com/mig-1g.10gb", 1 / 7),
        ("nvidia.com/mig-1g.10gb.me", 1 / 7),
        ("nvidia.com/mig-3g.40gb", 3 / 7),
        ("nvidia.com/mig-7g.80gb", 1),
        ("gpu.intel.com/i915", 1),
        ("gpu.intel.com/i915_monitoring", 0),
        ("habana.ai/gaudi", 1),
        ("google.com/tpu", 1),
        ("aws.amazon.com/neuron", 1),
        ("aws.amazon.com/neuroncore", 0.5),
        ("rdma/hca", 0),
    ],
)
def test_the_default_accelerators(resource, gpus):
    assert gpus_of({resource: 2}, Accelerators()) == pytest.approx(2 * gpus, abs=1e-5)


def test_the_longest_pattern_applies():
    accelerators = Accelerators(gpus={"*/gpu": 1, "small.example/gpu": 0.25, "*": 0})
    assert gpus_of({"small.example/gpu": 2, "large.example/gpu": 1, "other.example/x": 9}, accelerators) == 1.5


def test_only_whole_numbers_of_extended_resources_are_devices():
    limits = {"cpu": 4, "memory": "1Gi", "nvidia.com/gpu": "2", "amd.com/gpu": 0, "x.example/y": "1500m"}
    assert devices(limits) == {"nvidia.com/gpu": 2}
    assert devices(None) == {}


@pytest.mark.parametrize(
    ("selector", "price"),
    [({"gpu.product": "H200-SXM"}, 6), ({"gpu.product": "A100"}, 2), ({}, 2), (None, 2)],
)
def test_the_first_price_that_matches_applies(selector, price):
    prices = (Price("nvidia.com/gpu", 6, {"gpu.product": "H200*"}), Price("*/gpu", 2), Price("*", 1))
    held = {"nvidia.com/gpu": 2, "habana.ai/gaudi": 3}
    assert cost_per_hour(held, selector, Accelerators(prices=prices)) == 2 * price + 3
    assert cost_per_hour(held, selector, Accelerators()) == 0
