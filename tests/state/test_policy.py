"""Bounds of the operator's settings, at acceptance and for the fields that may change later."""

import json
from dataclasses import replace

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.settings import Policy
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ObjectRef
from support.runs import make_run
from support.world import SETTINGS, World, world_after

SECRET = {"name": "db-root", "key": "password"}
CLOSED = replace(SETTINGS, policy=Policy(secrets=("fusionrun-*",), hubs=("https://mirror.example",)))


def test_a_run_that_breaks_the_policy_is_invalid():
    world = World(make_run(hub={"tokenSecretRef": SECRET}), settings=CLOSED)
    world.settle()
    assert world.condition("Failed")[:2] == ("True", Reason.INVALID_SPEC)
    text = "spec.hub.tokenSecretRef.name: 'db-root': is not allowed on this cluster: policy.secrets of the operator"
    assert world.condition("Failed")[2].startswith(text)
    assert not world.objects


def with_gpus(gpus, **server):
    run = make_run()
    run["spec"]["sources"][0]["served"] |= {"resources": {"limits": {"nvidia.com/gpu": gpus}}, **server}
    return run


def test_a_source_that_cannot_fit_a_node_is_refused_with_the_numbers():
    world = World(with_gpus(16, tensorParallelSize=8, pipelineParallelSize=2))
    world.settle()
    assert world.condition("Failed")[:2] == ("True", Reason.INVALID_SPEC)
    text = "spec.sources[ada].served.resources.limits[nvidia.com/gpu]: 16: a pod may have at most 8 GPUs"
    assert world.condition("Failed")[2].startswith(text)


def test_nodes_count_only_before_acceptance():
    nodes = (NodeGpus({}, {"nvidia.com/gpu": 4}),)
    world = World(with_gpus(8, tensorParallelSize=8))
    refused = decide(replace(world.live(), nodes=nodes), world.settings, world.now).status
    assert "8: the largest node has 4 GPUs for pods" in refused.conditions[0].message
    world.run_until("generate/ada")
    again = decide(replace(world.live(), nodes=nodes), world.settings, world.now)
    assert (again.status, again.delete) == (None, ())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hub": {"endpoint": "http://collector.example"}}, "spec.hub.endpoint"),
        ({"s3": {"secretRef": {"name": "db-root"}}}, "spec.s3.secretRef.name"),
        ({"scheduling": {"priorityClassName": "system-node-critical"}}, "spec.scheduling.priorityClassName"),
        ({"scheduling": {"tolerations": [{"operator": "Exists"}]}}, "spec.scheduling.tolerations"),
        ({"scheduling": {"labels": {"fusionrun.dev/run": "x"}}}, "spec.scheduling.labels"),
        ({"dataStages": {"pod": {"serviceAccountName": "root"}}}, "spec.dataStages.pod.serviceAccountName"),
        ({"dataStages": {"pod": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}}}, "spec.dataStages.pod.env"),
    ],
)
def test_no_stage_starts_with_a_changed_field_that_breaks_the_policy(changes, field):
    world = World(make_run(), settings=CLOSED)
    world.run_until("generate/ada")
    before, made = set(world.workloads()), list(world.started)
    world.change_spec(**changes)
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.NOT_ALLOWED)
    assert message.startswith(f"{field}: ")
    assert set(world.workloads()) == before, "what runs continues"
    world.finish("generate/ada")
    world.settle()
    assert "serve/ada" not in world.workloads(), "the GPUs of a server are freed"
    assert world.started == made
    for name in changes:
        del world.run["spec"][name]
    world.complete()


def test_a_value_that_was_allowed_at_acceptance_stays_allowed():
    """A narrower policy, or the first one after an upgrade, does not stop runs in progress."""
    world = world_after("resolve", hub={"endpoint": "https://other.example", "tokenSecretRef": SECRET})
    world.settings = CLOSED
    world.complete()


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("served.extraArgs", ["--load-format", "pt"], "sources[ada].served.extraArgs"),
        ("served.model", {"uri": "pvc://fusion-data/../etc"}, "sources[ada].served.model.uri"),
        ("served.model", {"uri": "pvc://fusion-data/x", "trustRemoteCode": True}, "sources[ada].served.model.revision"),
    ],
)
def test_an_accepted_spec_that_breaks_a_security_rule_starts_no_stage(path, value, field):
    """An operator with weaker rules accepted it, or somebody replaced it before an upgrade."""
    world = world_after("resolve")
    data = world.objects[ObjectRef("v1", "ConfigMap", "lab", "tiny-spec")]["data"]
    spec = json.loads(data["spec.json"])
    spec["sources"][0]["served"][path.partition(".")[2]] = value
    data["spec.json"] = json.dumps(spec, sort_keys=True)
    del world.run["status"]["specDigest"], world.run["status"]["resolvedDigest"]
    made = list(world.started)
    world.finish_in_turn("prepare/prompts", "prepare/benchmarks")
    assert world.condition("Ready")[:2] == ("False", Reason.NOT_ALLOWED)
    assert f"spec.{field}" in world.condition("Ready")[2]
    assert world.started == made


def test_a_server_whose_client_may_not_start_frees_its_gpus():
    world = World(make_run(), settings=CLOSED)
    world.finish_in_turn("resolve", "prepare/prompts")
    world.make_ready("serve/bob")
    assert {"serve/ada", "serve/bob"} <= set(world.workloads())
    world.change_spec(hub={"endpoint": "http://collector.example"})
    assert not {"serve/ada", "serve/bob", "generate/bob"} & set(world.workloads())
    assert world.stage("serve/bob").reason == Reason.NOT_ALLOWED
    del world.run["spec"]["hub"]
    world.complete()


def test_publish_uses_the_hub_of_the_accepted_spec():
    """Whoever may change the run must not send the token that can write to another hub."""
    writer = {"name": "writer", "key": "token"}
    publish = {"uri": "hf://org/fused", "tokenSecretRef": writer}
    world = world_after("resolve", publish=publish, hub={"endpoint": "https://hub.example"})
    world.change_spec(hub={"endpoint": "https://collector.example"})
    world.run_until("publish")
    assert world.task("publish").parameters.hub_endpoint == "https://hub.example"
    assert "collector.example" not in json.dumps(world.objects[world.task_ref("publish")])
