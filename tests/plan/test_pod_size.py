"""Pods that are larger than a node are refused, with the numbers."""

import copy

import pytest

from fusionrun.plan.pod_size import NodeGpus, too_large
from fusionrun.plan.policy import violations
from fusionrun.settings import Policy
from support.plans import read
from support.runs import make_spec

GPU = "nvidia.com/gpu"


def spec_with(gpus, **parallel):
    """Make a spec whose first source has so many GPUs per replica."""
    sources = make_spec()["sources"]
    sources[0]["served"] |= {"resources": {"limits": {GPU: gpus}}, **parallel}
    return make_spec(sources=sources)


SIXTEEN = spec_with(16, tensorParallelSize=8, pipelineParallelSize=2)


def test_a_server_that_needs_two_nodes_is_refused_with_what_to_do():
    (error,) = violations(read(SIXTEEN), Policy())
    assert (error.field, error.value) == (f"sources[ada].served.resources.limits[{GPU}]", 16)
    assert error.rule == (
        "a pod may have at most 8 GPUs (policy.maxGpusPerPod of the operator, the largest node): a replica with "
        "tensorParallelSize 8 x pipelineParallelSize 2 is one pod: lower them, use a quantised model, or add a larger "
        "node"
    )
    assert violations(read(SIXTEEN), Policy(max_gpus_per_pod=16)) == []


@pytest.mark.parametrize("part", ["evaluation.server", "training", "rewardModel", "dataStages"])
def test_every_part_with_gpus_is_checked(part):
    spec, resources = make_spec(), {"resources": {"limits": {GPU: "9"}}}
    first, _, second = part.partition(".")
    fields = copy.deepcopy(spec.get(first, {}))
    fields |= {second: resources} if second else resources
    errors = list(too_large(read(spec | {first: fields}), 8))
    assert [(e.field, e.value) for e in errors] == [(f"{part}.resources.limits[{GPU}]", 9)]


NODES = [
    NodeGpus({"pool": "small"}, {GPU: 4}),
    NodeGpus({"pool": "large"}, {GPU: 8}),
    NodeGpus({}, {"amd.com/gpu": 16}),
]


@pytest.mark.parametrize(
    ("gpus", "selector", "largest"),
    [
        (8, {}, None),
        (9, {}, "the largest node has 8 GPUs for pods"),
        (8, {"pool": "small"}, "the largest node that scheduling.nodeSelector selects has 4 GPUs for pods"),
        (4, {"pool": "small"}, None),
        (16, {"pool": "scaled-to-zero"}, None),
    ],
)
def test_pods_are_compared_with_the_nodes_that_the_spec_selects(gpus, selector, largest):
    spec = read(spec_with(gpus) | {"scheduling": {"nodeSelector": selector}})
    errors = [e.rule.split(": ")[0] for e in too_large(spec, 16, NODES)]
    assert errors == ([largest] if largest else [])
