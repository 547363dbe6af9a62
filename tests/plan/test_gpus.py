"""Which resources count as GPUs, for how many, and what they cost."""

import pytest

from fusionrun.api.spec.resources import Resources
from fusionrun.plan.gpus import cost_per_hour, devices, for_one_gpu, gpus_of
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


def test_the_part_of_one_gpu_has_its_share_of_cpus_and_memory():
    limits = {"nvidia.com/gpu": 8, "memory": "900Gi", "cpu": "12", "rdma/hca": 1, "ephemeral-storage": "9Gi"}
    part = for_one_gpu(Resources(limits=limits, requests={"cpu": "1500m"}))
    assert part.limits == {"nvidia.com/gpu": 1, "memory": "112.5Gi", "cpu": "1.5", "ephemeral-storage": "9Gi"}
    assert part.requests == {"cpu": "188m"}, "Kubernetes refuses parts of 1m"
    assert for_one_gpu(Resources(limits={"nvidia.com/gpu": "3", "cpu": 4})).limits == {
        "nvidia.com/gpu": 1,
        "cpu": "1.334",
    }


@pytest.mark.parametrize("resources", [None, Resources(limits={"memory": "4Gi", "cpu": "3"})])
def test_resources_without_gpus_are_not_divided(resources):
    assert for_one_gpu(resources) == resources


@pytest.mark.parametrize(
    ("selector", "price"),
    [({"gpu.product": "H200-SXM"}, 6), ({"gpu.product": "A100"}, 2), ({}, 2), (None, 2)],
)
def test_the_first_price_that_matches_applies(selector, price):
    prices = (Price("nvidia.com/gpu", 6, {"gpu.product": "H200*"}), Price("*/gpu", 2), Price("*", 1))
    held = {"nvidia.com/gpu": 2, "habana.ai/gaudi": 3}
    assert cost_per_hour(held, selector, Accelerators(prices=prices)) == 2 * price + 3
    assert cost_per_hour(held, selector, Accelerators()) == 0
