"""Pods that are larger than a node are refused, with the numbers."""

import pytest

from fusionrun.plan.pod_size import NodeGpus, too_large
from fusionrun.plan.policy import violations
from fusionrun.settings import Policy
from support.plans import read
from support.runs import changed, evaluation_only, make_spec, measured

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


PARTS = ["evaluation.server", "training", "rewardModel", "dataStages"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_with_gpus_is_checked(part):
    errors = list(too_large(read(changed(make_spec(), f"{part}.resources.limits", {GPU: "9"})), 8))
    assert [(e.field, e.value) for e in errors] == [(f"{part}.resources.limits[{GPU}]", 9)]


NODES = [
    NodeGpus({"pool": "small", "zone": "a"}, {GPU: 4}),
    NodeGpus({"pool": "large"}, {GPU: 8}),
    NodeGpus({}, {"amd.com/gpu": 16}),
]


SMALL, LARGE = {"pool": "small"}, {"pool": "large"}


@pytest.mark.parametrize(
    ("gpus", "of_run", "of_pod", "largest"),
    [
        (8, {}, {}, None),
        (9, {}, {}, "the largest node has 8 GPUs for pods"),
        (8, SMALL, {}, "the largest node with the labels of scheduling.nodeSelector has 4 GPUs for pods"),
        (4, SMALL, {}, None),
        (16, {"pool": "scaled-to-zero"}, {}, None),
        (8, {}, SMALL, "the largest node with the labels of pod.nodeSelector has 4 GPUs for pods"),
        (8, {}, LARGE, None),
        (8, SMALL, LARGE, None),
        (
            8,
            {"zone": "a"},
            SMALL,
            "the largest node with the labels of scheduling.nodeSelector and pod.nodeSelector has 4 GPUs for pods",
        ),
        (16, {"zone": "b"}, SMALL, None),
    ],
)
def test_pods_are_compared_with_the_nodes_that_their_settings_select(gpus, of_run, of_pod, largest):
    fields = spec_with(gpus, pod={"nodeSelector": of_pod}) | {"scheduling": {"nodeSelector": of_run}}
    errors = [e.rule.split(": ")[0] for e in too_large(read(fields), 16, NODES)]
    assert errors == ([largest] if largest else [])


@pytest.mark.parametrize(("selector", "refused"), [(SMALL, True), (LARGE, False)])
@pytest.mark.parametrize("part", PARTS)
def test_the_node_selector_of_every_part_counts(part, selector, refused):
    spec = changed(changed(make_spec(), f"{part}.resources.limits", {GPU: 8}), f"{part}.pod.nodeSelector", selector)
    errors = list(too_large(read(spec), 8, NODES))
    assert [e.field for e in errors] == [f"{part}.resources.limits[{GPU}]"] * refused


def test_a_measured_model_is_compared_with_the_nodes_of_its_own_server():
    """Its settings of pods replace those of the server of all models, which select large nodes."""
    spec = evaluation_only(measured("m", server={"pod": {"nodeSelector": SMALL}}))
    spec["evaluation"]["server"] = {"resources": {"limits": {GPU: 8}}, "pod": {"nodeSelector": LARGE}}
    errors = list(too_large(read(spec), 8, NODES))
    assert [e.field for e in errors] == [f"evaluateOnly.models[m].server.resources.limits[{GPU}]"]
