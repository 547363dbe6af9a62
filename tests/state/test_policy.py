"""Bounds of the operator's settings, at acceptance and for the fields that may change later."""

import json
from dataclasses import replace

import pytest

from fusionrun.api.status import Reason
from fusionrun.settings import Policy
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
