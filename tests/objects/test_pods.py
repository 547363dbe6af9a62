"""All pods of all stages: restricted, without a service account token, with secrets only by reference."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun import names
from fusionrun.api.pod import TASK_DIGEST_ENV
from fusionrun.api.stage import StageKind
from fusionrun.objects import meta
from fusionrun.plan.credentials import S3_KEYS, S3_MORE_KEYS
from fusionrun.plan.pinned import PinnedPlan
from support.golden import SETTINGS, objects_of
from support.plans import pinned_of
from support.pod_security import containers, pod_specs, violations
from support.properties import quick
from support.runs import CLAIM, UID, called_reward, external_source, make_spec

SECRET = {"name": "hugging-face", "key": "token"}
GPU = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}


def full_spec(**changes: Any) -> dict[str, Any]:
    """Return a spec that sets everything that a pod can have."""
    ada, bob = make_spec()["sources"]
    ada["served"] |= {"resources": GPU, "extraArgs": ["--enforce-eager"]}
    return make_spec(
        sources=[ada, bob, external_source(apiKeySecretRef={"name": "far-key", "key": "api"})],
        target={"family": "Llama3", "model": {"uri": "hf://org/target"}},
        publish={"uri": f"pvc://{CLAIM}/out"},
        hub={"tokenSecretRef": SECRET, "endpoint": "https://hub"},
        training={"nodes": 2, "resources": GPU},
        scheduling={
            "queueName": "team",
            "priorityClassName": "low",
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "sandboxRuntimeClassName": "isolated",
        },
        **changes,
    )


PINNED = pinned_of("tiny", full_spec())
OBJECTS = objects_of(PINNED)
WORKLOADS = [m for m in OBJECTS if list(pod_specs(m))]
PODS = [(m["metadata"]["labels"][names.LABEL_STAGE], meta_, pod) for m in WORKLOADS for meta_, pod in pod_specs(m)]


def test_a_pod_passes_the_restricted_standard():
    for stage, _, pod in PODS:
        assert violations(pod) == [], stage


def test_a_pod_has_no_token_of_the_api_server():
    for stage, _, pod in PODS:
        assert pod["automountServiceAccountToken"] is False, stage
        assert pod["enableServiceLinks"] is False, stage
        assert "serviceAccountName" not in pod, stage
        assert not [v for v in pod["volumes"] if "projected" in v or "secret" in v], stage


def test_a_container_writes_only_to_volumes_and_runs_as_one_user():
    for stage, _, pod in PODS:
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, stage
            assert container["resources"]["limits"]["memory"], stage
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", stage
        assert pod["securityContext"]["runAsUser"] == meta.USER_ID, stage
        volumes = [v["name"] for v in pod["volumes"]]
        assert len(set(volumes)) == len(volumes), stage
        assert {m["name"] for c in containers(pod) for m in c.get("volumeMounts", [])} == set(volumes), stage


def test_a_pod_has_the_labels_that_the_operator_selects_and_the_scheduling_of_the_run():
    for stage, metadata, pod in PODS:
        assert metadata["labels"][names.LABEL_RUN] == "tiny", stage
        assert metadata["labels"][names.LABEL_STAGE] == stage
        assert metadata["labels"][names.LABEL_COMPONENT] in set(StageKind), stage
        assert pod["priorityClassName"] == "low", stage
        assert pod["nodeSelector"] == {"gpu": "yes"}, stage
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}], stage


WITHOUT_ENVIRONMENT = ("runner", "access", "directory")
"""Containers that run no stage: they get neither the settings nor the credentials of one."""


def test_only_stages_with_hub_access_have_a_token_and_the_others_are_offline():
    for stage, metadata, pod in PODS:
        kind = metadata["labels"][names.LABEL_COMPONENT]
        for container in containers(pod):
            if container["name"] in WITHOUT_ENVIRONMENT:
                continue
            environment = {e["name"]: e for e in container.get("env", [])}
            if kind in ("resolve", "fetch"):
                assert environment["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": SECRET}, stage
            else:
                assert "HF_TOKEN" not in environment, stage
            if kind not in ("resolve", "fetch", "publish") and stage != "preflight.publishing":
                assert environment["HF_HUB_OFFLINE"]["value"] == "1", stage


def test_a_secret_is_only_referenced():
    found = variables_of(PINNED)
    assert {stage for stage, variables in found.items() if "HF_TOKEN" in variables} == {"resolve", "fetch.target"}
    assert found["generate.far"] == {"FUSIONRUN_API_KEY": {"name": "far-key", "key": "api"}}
    secret = next(m for m in OBJECTS if m["kind"] == "Secret")
    key = base64.b64decode(secret["data"]["key"]).decode()
    assert key == hmac.digest(SETTINGS.server_key, UID.encode(), "sha256").hex()
    for manifest in OBJECTS:
        assert manifest["kind"] == "Secret" or (key not in str(manifest) and secret["data"]["key"] not in str(manifest))


def test_a_server_asks_for_the_key_that_its_clients_send():
    (secret,) = {m["metadata"]["name"] for m in OBJECTS if m["kind"] == "Secret"}
    holders = {
        stage: set(variables)
        for stage, variables in variables_of(PINNED).items()
        if {"name": secret, "key": "key"} in variables.values()
    }
    own = [s for s in PINNED.plan.stages if s.kind is StageKind.SERVE or s.server]
    assert holders == {names.stage_label(s.name): {"FUSIONRUN_API_KEY" if s.server else "VLLM_API_KEY"} for s in own}


def test_a_run_of_an_earlier_release_has_no_key():
    before = replace(PINNED, features=frozenset())
    assert "Secret" not in {m["kind"] for m in objects_of(before)}
    assert "server-key" not in str(objects_of(before))
    other = replace(PINNED, uid=UID.replace("1", "2"))
    assert not secret_names(PINNED) & secret_names(other), "a new run of the same name has another Secret"


def secret_names(pinned: PinnedPlan) -> set[str]:
    return {m["metadata"]["name"] for m in objects_of(pinned) if m["kind"] == "Secret"}


TRUSTED = {"uri": "hf://org/odd", "revision": "a" * 40, "trustRemoteCode": True}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector selects an object. Source: Kubernetes, LabelSelector."""
    absent = [e["key"] for e in selector.get("matchExpressions", ()) if e["operator"] == "DoesNotExist"]
    assert len(absent) == len(selector.get("matchExpressions", ()))
    return selector.get("matchLabels", {}).items() <= labels.items() and not labels.keys() & set(absent)


def test_each_pod_is_selected_by_exactly_the_policy_that_is_created_before_it():
    """A second policy would open a closed pod: policies add up."""
    spec = full_spec(rewardModel=make_spec()["rewardModel"] | {"model": TRUSTED})
    pinned = pinned_of("tiny", spec)
    policies = {m["metadata"]["name"]: m["spec"] for m in objects_of(pinned) if m["kind"] == "NetworkPolicy"}
    assert set(policies) == {"tiny-network", "tiny-sandbox", "tiny-remote-code"}
    for stage in pinned.plan.stages:
        first, *_, workload = objects_of(pinned, [stage])
        ((metadata, _), *_) = pod_specs(workload)
        selecting = [name for name, policy in policies.items() if selects(policy["podSelector"], metadata["labels"])]
        assert selecting == [first["metadata"]["name"]], stage.name


def test_ordinary_pods_accept_connections_of_their_run_and_of_monitoring_to_the_ports_with_metrics():
    (policy,) = {str(m["spec"]): m["spec"] for m in OBJECTS if m["metadata"]["name"] == "tiny-network"}.values()
    assert policy["policyTypes"] == ["Ingress"]
    own, monitoring = policy["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": {names.LABEL_RUN: "tiny"}}}]}
    assert monitoring["ports"] == [{"protocol": "TCP", "port": 9464}, {"protocol": "TCP", "port": 8000}]
    ((selector,),) = [m["namespaceSelector"]["matchExpressions"] for m in monitoring["from"]]
    assert selector["values"] == ["monitoring"]


def test_the_format_of_the_log_is_a_variable_of_the_programs_of_stages():
    variable = {"name": "FUSIONRUN_LOG_FORMAT", "value": "json"}
    for stage in PINNED.plan.stages:
        text, as_json = (
            [pod for m in objects_of(PINNED, [stage], settings) for _, pod in pod_specs(m)]
            for settings in (SETTINGS, replace(SETTINGS, log_format="json"))
        )
        found = [variable in c.get("env", []) for pod in as_json for c in pod["containers"]]
        assert set(found) == {not stage.traits.is_server}, stage.name
        assert not [c for pod in text for c in containers(pod) if variable in c.get("env", [])]


def test_blocked_networks_are_excepted_from_the_egress_of_ordinary_pods():
    settings = replace(SETTINGS, blocked_networks=("169.254.0.0/16", "fd00:ec2::254/128"), monitoring_namespaces=())
    policy = objects_of(PINNED, [PINNED.plan["sft"]], settings)[0]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert len(policy["ingress"]) == 1
    ((pods, *blocks),) = [rule["to"] for rule in policy["egress"]]
    assert pods == {"namespaceSelector": {}}
    assert [block["ipBlock"] for block in blocks] == [
        {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]},
        {"cidr": "::/0", "except": ["fd00:ec2::254/128"]},
    ]


def test_a_secret_that_a_later_stage_needs_is_mounted_before_resolve_and_read_by_no_program():
    """A container that cannot get the Secret does not start, and the kubelet says which one is missing."""
    spec = full_spec()
    writer, judge = {"name": "writer", "key": "token"}, {"name": "judge", "key": "api"}
    spec["publish"] = {"uri": "hf://org/fused", "tokenSecretRef": writer}
    spec["rewardModel"] = called_reward(apiKeySecretRef=judge)
    (pod,) = [p for stage, _, p in pods_of(spec) if stage == "resolve"]
    (access,) = pod["initContainers"]
    found = [e["valueFrom"]["secretKeyRef"] for e in access["env"]]
    assert found == [{"name": "far-key", "key": "api"}, judge, writer]
    assert access["command"] == ["python", "-I", "-c", ""]
    assert "volumeMounts" not in access
    (pod,) = [p for stage, _, p in pods_of(make_spec()) if stage == "resolve"]
    assert "initContainers" not in pod, "no later stage has a Secret"


def pods_of(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = [m for m in objects_of(pinned_of("tiny", spec)) if list(pod_specs(m))]
    return [(m["metadata"]["labels"][names.LABEL_STAGE], meta_, pod) for m in found for meta_, pod in pod_specs(m)]


def test_a_process_with_foreign_code_gets_no_secret_but_its_own_server_key():
    spec = full_spec(rewardModel=make_spec()["rewardModel"] | {"model": TRUSTED})
    spec["sources"][0]["served"]["model"] = TRUSTED
    foreign = [
        (stage, p) for stage, m, p in pods_of(spec) if {names.LABEL_SANDBOX, names.LABEL_REMOTE_CODE} & set(m["labels"])
    ]
    assert {stage.partition(".")[0] for stage, _ in foreign} == {"preflight", "serve", "score", "verify"}
    for stage, pod in foreign:
        variables = [e for c in containers(pod) for e in c.get("env", []) if "secretKeyRef" in e.get("valueFrom", {})]
        assert [e["name"] for e in variables] == (["VLLM_API_KEY"] if stage.startswith("serve") else []), stage


def test_foreign_code_cannot_write_where_other_pods_write_their_logs():
    spec = full_spec(rewardModel=make_spec()["rewardModel"] | {"model": TRUSTED})
    spec["sources"][0]["served"]["model"] = TRUSTED
    pods = pods_of(spec)
    logs = {stage: f"{pod['containers'][0]['command'][3]}/" for stage, _, pod in pods}
    foreign = [(stage, pod) for stage, meta_, pod in pods if names.LABEL_REMOTE_CODE in meta_["labels"]]
    for stage, pod in foreign:
        (written,) = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if "subPath" in m]
        assert [other for other, path in logs.items() if path.startswith(f"{written}/")] == [stage]
    assert {stage.partition(".")[0] for stage, _ in foreign} == {"preflight", "serve", "score"}


@pytest.mark.parametrize("assigned", [False, True])
def test_a_cluster_may_assign_the_user_of_all_pods(assigned):
    """The SCC restricted-v2 of OpenShift refuses a pod that sets another user than the range of its namespace."""
    settings = replace(SETTINGS, fixed_user=not assigned)
    for manifest in objects_of(PINNED, settings=settings):
        for _, pod in pod_specs(manifest):
            assert violations(pod) == []
            text = json.dumps(pod)
            set_ = [name for name in ("runAsUser", "runAsGroup", "fsGroup") if f'"{name}"' in text]
            assert set_ == ([] if assigned else ["runAsUser", "runAsGroup", "fsGroup"])
            named = [e["value"] for c in pod["containers"] for e in c["env"] if e["name"] == "USER"]
            server = manifest["kind"] == "Deployment"  # UID 1000 has no name in vLLM's image
            assert named == (["fusionrun"] if assigned or server else []), "torch asks for the name of the user"


def test_a_server_needs_nothing_but_vllm_in_its_image():
    """vLLM's own image is made for root: its home and caches are not writable for the user of the pod."""
    settings = replace(SETTINGS, cpu_environment={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CACHE_ROOT": "/dev/shm/vllm"})
    servers = [m for m in objects_of(PINNED, settings=settings) if m["kind"] == "Deployment"]
    assert servers
    for pod in (server["spec"]["template"]["spec"] for server in servers):
        (container,) = pod["containers"]
        variables = [(e["name"], e.get("value")) for e in container["env"]]
        assert len(variables) == len(dict(variables)), "the API server refuses a second one of a name"
        values = dict(variables)
        assert {values[name].partition("/tmp")[0] for name in ("HOME", "HF_HOME", "TRITON_CACHE_DIR")} == {""}
        assert values["VLLM_CACHE_ROOT"] == "/dev/shm/vllm"
        assert container["workingDir"] == "/tmp"
        assert {c["image"] for c in pod["initContainers"]} == {settings.images.data}


def test_a_directory_that_is_mounted_by_its_path_is_made_by_the_user_of_the_pod():
    spec = full_spec(rewardModel=make_spec()["rewardModel"] | {"model": TRUSTED})
    checked = []
    for stage, _, pod in pods_of(spec):
        written = [m for c in pod["containers"] for m in c["volumeMounts"] if "subPath" in m and not m.get("readOnly")]
        made = [c["command"][-1] for c in pod.get("initContainers", []) if c["name"] == "directory"]
        assert [m["mountPath"] for m in written] == made, stage
        assert not made or pod["initContainers"][0]["name"] == "directory", "before any other container"
        checked += made
    assert checked


def test_a_pod_has_the_digest_of_its_task():
    for config_map, job in pairwise(OBJECTS):
        if config_map["kind"] == "ConfigMap":
            digest = hashlib.sha256(config_map["data"]["task.json"].encode()).hexdigest()
            assert job["metadata"]["annotations"] == {names.ANNOTATION_TASK: digest}
            for _, pod in pod_specs(job):
                (container,) = pod["containers"]
                values = [e["value"] for e in container["env"] if e["name"] == TASK_DIGEST_ENV]
                assert values == [digest], job["metadata"]["name"]


def test_temporary_files_and_shared_memory_are_bounded_by_settings():
    def sizes(**limits):
        found = objects_of(PINNED, settings=replace(SETTINGS, **limits))
        pods = [p for m in found for _, p in pod_specs(m)]
        return {
            (v["name"], v["emptyDir"].get("sizeLimit"))
            for p in pods for v in p["volumes"] if v["name"] in ("tmp", "shm")
        }  # fmt: skip

    assert sizes() == {("tmp", "20Gi"), ("shm", "16Gi")}
    assert sizes(tmp_size_limit="", shared_memory_size_limit="1Gi") == {("tmp", None), ("shm", "1Gi")}


def variables_of(pinned: PinnedPlan) -> dict[str, dict[str, Any]]:
    """Return by stage the environment variables that refer to a Secret."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in objects_of(pinned):
        for metadata, pod in pod_specs(manifest):
            environment = [e for c in pod["containers"] for e in c.get("env", [])]
            secret = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in environment if "secretKeyRef" in str(e)}
            found[metadata["labels"][names.LABEL_STAGE]] = secret
    return found


def test_stages_that_read_have_the_read_keys_and_publish_has_the_write_keys():
    spec = full_spec(s3={"secretRef": {"name": "reader"}})
    spec["publish"] = {"uri": "s3://models/out", "s3SecretRef": {"name": "writer"}}
    found = variables_of(pinned_of("tiny", spec))
    aws = {*S3_KEYS, *S3_MORE_KEYS}
    holders = {stage: values for stage, values in found.items() if aws & set(values)}
    assert {stage: {v["name"] for k, v in values.items() if k in aws} for stage, values in holders.items()} == {
        "resolve": {"reader"},
        "fetch.target": {"reader"},
        "preflight.publishing": {"writer"},
        "publish": {"writer"},
    }
    assert {k for k, v in holders["publish"].items() if not v.get("optional")} == set(S3_KEYS)
    assert set(holders["publish"]) == aws


def test_publish_has_another_hub_token():
    spec = full_spec()
    writer = {"name": "writer", "key": "token"}
    spec["publish"] = {"uri": "hf://org/fused", "tokenSecretRef": writer}
    found = variables_of(pinned_of("tiny", spec))
    assert found["publish"] == {"HF_TOKEN": writer}
    assert {stage for stage, values in found.items() if values.get("HF_TOKEN") == SECRET} == {"resolve", "fetch.target"}


def test_an_object_belongs_to_its_run():
    for manifest in OBJECTS:
        metadata = manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("FusionRun", "tiny", UID), metadata
        assert owner["controller"] is True, metadata
        assert metadata["namespace"] == "lab", metadata
        assert metadata["labels"][names.LABEL_RUN] == "tiny", metadata
        assert metadata["labels"][names.LABEL_MANAGED_BY] == names.MANAGED_BY, metadata
        assert len(metadata["name"]) <= 63, metadata


def test_object_names_are_unique_except_for_those_of_shared_objects():
    shared = [m for m in OBJECTS if m["kind"] in ("NetworkPolicy", "Secret")]
    keys = [(m["kind"], m["metadata"]["name"]) for m in OBJECTS if m not in shared]
    assert len(set(keys)) == len(keys)
    assert len({str(m) for m in shared}) == len({(m["kind"], m["metadata"]["name"]) for m in shared}) == 3


def queues(manifests: list[dict]) -> dict[str, str | None]:
    """Return the LocalQueue of each stage that has a workload."""
    of_stages = [m["metadata"]["labels"] for m in manifests if list(pod_specs(m))]
    return {labels[names.LABEL_STAGE]: labels.get("kueue.x-k8s.io/queue-name") for labels in of_stages}


@pytest.mark.parametrize("cpu_queue", [None, "cpu"])
def test_only_stages_with_gpus_are_in_the_queue_of_gpus(cpu_queue):
    scheduling = {"queueName": "team", **({"cpuQueueName": cpu_queue} if cpu_queue else {})}
    found = queues(objects_of(pinned_of("tiny", full_spec() | {"scheduling": scheduling})))
    with_gpus = {"preflight.training", "serve.ada", "sft", "dpo", "promote"}
    servers = {stage for stage in found if stage.startswith("serve.")}
    assert {stage for stage, queue in found.items() if queue == "team"} == with_gpus
    assert {stage for stage in servers if found[stage] is None} == servers - with_gpus
    assert {found[stage] for stage in found.keys() - servers - with_gpus} == {cpu_queue}


def test_a_run_of_an_earlier_release_has_all_stages_in_one_queue():
    before = replace(PINNED, features=frozenset())
    assert set(queues(objects_of(before)).values()) == {"team"}


def test_the_workload_priority_class_is_on_every_queued_object_and_on_the_pods_of_servers():
    label, scheduling = "kueue.x-k8s.io/priority-class", {"queueName": "team", "workloadPriorityClassName": "high"}
    for manifest in objects_of(pinned_of("tiny", full_spec() | {"scheduling": scheduling})):
        labels = manifest["metadata"]["labels"]
        assert labels.get(label) == ("high" if "kueue.x-k8s.io/queue-name" in labels else None)
        if manifest["kind"] == "Deployment":
            assert manifest["spec"]["template"]["metadata"]["labels"].get(label) == labels.get(label)


def test_suspend_is_never_set():
    for manifest in WORKLOADS:
        assert "suspend" not in manifest["spec"]
        assert "suspend" not in manifest["spec"].get("runPolicy", {})


def test_a_config_map_is_immutable_and_comes_before_the_object_that_reads_it():
    for earlier, later in pairwise(OBJECTS):
        if earlier["kind"] == "ConfigMap":
            assert earlier["immutable"] is True
            assert later["metadata"]["name"] == earlier["metadata"]["name"]
            volumes = [v for _, p in pod_specs(later) for v in p["volumes"]]
            assert {"name": "task", "configMap": {"name": earlier["metadata"]["name"]}} in volumes


def test_stages_with_a_report_hold_no_gpus():
    assert not [s.name for s in PINNED.plan.stages if s.traits.report and s.gpus]


run_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,48}[a-z0-9])?", fullmatch=True)


@quick
@given(run_names, st.integers(0, 3), st.integers(1, 4), st.integers(1, 9), st.booleans())
def test_pods_are_restricted_for_any_name_and_settings(name, backoff, nodes, shards, coding):
    datasets = make_spec()["datasets"][: 2 if coding else 1]
    spec = make_spec(backoffLimit=backoff, training={"nodes": nodes}, generation={"shards": shards}, datasets=datasets)
    for manifest in objects_of(pinned_of(name, spec)):
        assert len(manifest["metadata"]["name"]) <= 63
        for _, pod in pod_specs(manifest):
            assert violations(pod) == []
            assert pod["automountServiceAccountToken"] is False


def test_the_check_of_the_restricted_standard_detects_violations():
    _, _, pod = PODS[0]
    assert violations(pod | {"hostNetwork": True})
    assert violations(pod | {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]})
    bare = {k: v for k, v in pod["containers"][0].items() if k != "securityContext"}
    assert violations(pod | {"containers": [bare]})
    assert violations({k: v for k, v in pod.items() if k != "securityContext"})
    assert SETTINGS.images.data == pod["containers"][0]["image"]


def test_a_workload_names_the_artifact_that_it_makes_or_serves():
    named = {m["metadata"]["labels"].get(names.LABEL_STAGE): artifact_of(m) for m in WORKLOADS}
    digests = {names.stage_label(name): digest for name, digest in PINNED.digests.items()}
    servers = {names.stage_label(s.server): PINNED.digests[s.name] for s in PINNED.plan.stages if s.server}
    assert {stage: named[stage] for stage in {**digests, **servers}} == digests | servers
    assert named["resolve"] is None
    before = replace(PINNED, features=frozenset())
    assert not any(artifact_of(m) for m in objects_of(before)), "objects of runs of earlier releases do not change"


def artifact_of(manifest: dict[str, Any]) -> str | None:
    return manifest["metadata"]["labels"].get(names.LABEL_ARTIFACT)
