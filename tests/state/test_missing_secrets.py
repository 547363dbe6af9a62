"""A Secret that does not exist: the kubelet reports it, and the operator names the field of the spec."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.observe.object_ref import ref_of
from support.runs import called_reward, external_source, make_run, make_spec
from support.world import SETTINGS, World, world_after

SECRET = {"name": "key", "key": "token"}
S3 = {"name": "key"}
VARIABLE = {"name": "TZ", "valueFrom": {"secretKeyRef": SECRET}}
VOLUME = {"name": "v", "secret": {"secretName": "key"}}
NO_SECRET = 'secret "key" not found'
TOKEN, KEYS = "create it with key 'token'", "create it with keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@pytest.mark.parametrize(
    ("changes", "field", "advice"),
    [
        ({"hub": {"tokenSecretRef": SECRET}}, "hub.tokenSecretRef", TOKEN),
        ({"sources": [external_source(apiKeySecretRef=SECRET)]}, "sources[far].endpoint.apiKeySecretRef", TOKEN),
        ({"rewardModel": called_reward(apiKeySecretRef=SECRET)}, "rewardModel.endpoint.apiKeySecretRef", TOKEN),
        ({"publish": {"uri": "hf://me/mine", "tokenSecretRef": SECRET}}, "publish.tokenSecretRef", TOKEN),
        ({"s3": {"secretRef": S3}}, "s3.secretRef", KEYS),
        ({"publish": {"uri": "s3://b/x", "s3SecretRef": S3}}, "publish.s3SecretRef", KEYS),
        ({"training": {"pod": {"env": [VARIABLE]}}}, "training.pod.env[TZ].valueFrom.secretKeyRef", TOKEN),
        ({"dataStages": {"pod": {"volumes": [VOLUME]}}}, "dataStages.pod.volumes[v].secret", "create it"),
    ],
    ids=["hub", "endpoint", "reward", "publish", "s3", "publish-s3", "variable", "volume"],
)
def test_a_missing_secret_is_named_with_its_field_and_keys(changes, field, advice):
    world = World(make_run(**changes))
    world.settle()
    pod = world.wait_for_secret("resolve", NO_SECRET)
    decision = world.reconcile()
    expected = f"spec.{field}: 'key': no such Secret in namespace 'lab': {advice}"
    assert (world.stage("resolve").reason, world.stage("resolve").message) == (Reason.SECRET_MISSING, expected)
    status, reason, message = world.condition("Ready")
    assert (status, reason, message) == ("False", Reason.SECRET_MISSING, f"resolve: {expected}")
    assert decision.requeue_seconds is None, "nothing is asked again: the kubelet reports that the pod runs"
    assert [e.type for e in world.events if e.reason == Reason.SECRET_MISSING] == ["Warning"]
    pod["status"] |= {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    world.settle()
    assert world.condition("Ready")[1] == Reason.STAGES_RUNNING
    world.complete()


def test_a_key_that_a_secret_lacks_is_named():
    world = World(make_run(hub={"tokenSecretRef": SECRET}))
    world.settle()
    world.wait_for_secret("resolve", "couldn't find key token in Secret lab/key")
    world.settle()
    text = "spec.hub.tokenSecretRef: 'key': the Secret in namespace 'lab' has no key 'token': add it"
    assert world.stage("resolve").message == text


def test_fields_that_share_a_secret_are_all_named():
    world = World(make_run(hub={"tokenSecretRef": SECRET}, rewardModel=called_reward(apiKeySecretRef=SECRET)))
    world.settle()
    world.wait_for_secret("resolve", NO_SECRET)
    world.settle()
    text = "spec.hub.tokenSecretRef and spec.rewardModel.endpoint.apiKeySecretRef: 'key': no such Secret"
    assert world.stage("resolve").message.startswith(text)


def test_other_stages_continue():
    sources = [*make_spec()["sources"], external_source(apiKeySecretRef=SECRET)]
    world = world_after("resolve", "prepare/prompts", sources=sources)
    world.wait_for_secret("generate/far", NO_SECRET)
    world.serve("ada")
    assert world.stage("generate/far").reason == Reason.SECRET_MISSING
    assert "generate/ada" in world.workloads()
    world.place("generate/ada")
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.STAGES_RUNNING
    assert "pending: generate/far: spec.sources[far].endpoint.apiKeySecretRef: 'key'" in message


def test_a_pod_that_waits_for_a_secret_that_the_spec_no_longer_names_is_made_again():
    world = World(make_run(hub={"tokenSecretRef": SECRET}))
    world.settle()
    world.wait_for_secret("resolve", NO_SECRET)
    world.settle()
    world.now += timedelta(minutes=1)
    world.change_spec(hub={"tokenSecretRef": {"name": "other", "key": "token"}})
    (container,) = world.workloads()["resolve"]["spec"]["template"]["spec"]["containers"]
    assert [e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"] if e["name"] == "HF_TOKEN"] == ["other"]
    world.complete()


@pytest.mark.parametrize(
    ("key", "kubelet", "advice"),
    [
        (b"", 'secret "{}" not found', "set serverKey.enabled of the chart"),
        (b"k" * 32, "couldn't find key key in Secret lab/{}", "delete the Secret"),
    ],
    ids=["the operator lost its key", "somebody made another Secret"],
)
def test_a_pod_that_would_wait_again_for_the_key_of_its_server_is_kept(key, kubelet, advice):
    world = World(make_run(), settings=replace(SETTINGS, server_key=b"k" * 32))
    world.run_until("generate/ada")
    (secret,) = world.of_kind("Secret")
    world.settings = replace(SETTINGS, server_key=key)
    world.wait_for_secret("generate/ada", kubelet.format(secret["metadata"]["name"]))
    decision = world.reconcile()
    assert not decision.delete
    assert world.stage("generate/ada").reason == Reason.SECRET_MISSING
    assert advice in world.stage("generate/ada").message


@pytest.mark.parametrize("stage", ["serve/ada", "generate/ada"])
def test_a_deleted_key_of_a_server_is_made_again(stage):
    world = World(make_run(), settings=replace(SETTINGS, server_key=b"k" * 32))
    world.run_until(stage)
    (secret,) = world.of_kind("Secret")
    del world.objects[ref_of(secret)]
    world.wait_for_secret(stage, f'secret "{secret["metadata"]["name"]}" not found')
    assert 0 < world.reconcile().requeue_seconds <= 30, "a webhook may add a Secret to every pod"
    assert not world.of_kind("Secret")
    world.now += timedelta(seconds=30)
    world.settle()
    assert [made["data"] for made in world.of_kind("Secret")] == [secret["data"]]
    assert stage in world.workloads()
    world.complete()


def test_another_error_of_the_configuration_is_a_pending_pod():
    world = World(make_run())
    world.settle()
    world.wait_for_secret("resolve", 'configmap "tiny-x" not found')
    world.settle()
    assert world.stage("resolve").reason == Reason.PODS_PENDING
