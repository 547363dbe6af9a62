"""The pods of runs that adapt them to a cluster: RDMA, a proxy with a private CA, workload identity, Istio, GPUs."""

from dataclasses import replace
from typing import Any

import pytest

from fusionrun import names
from fusionrun.api.spec.pods import PodSettings
from fusionrun.settings import Settings
from support.golden import SETTINGS, objects_of
from support.plans import pinned_of
from support.pod_security import containers, pod_specs, violations
from support.runs import called_reward, changed, make_spec

TRUSTED = {"uri": "hf://org/odd", "revision": "a" * 40, "trustRemoteCode": True}
SECRET = {"name": "team", "key": "token"}
Pods = dict[str, tuple[dict[str, Any], dict[str, Any]]]


def pods_of(spec: dict[str, Any], settings: Settings = SETTINGS) -> Pods:
    """Return the metadata and the spec of a pod of each stage."""
    found = [m for m in objects_of(pinned_of("tiny", spec), settings=settings) if list(pod_specs(m))]
    return {m["metadata"]["labels"][names.LABEL_STAGE]: pod for m in found for pod in pod_specs(m)}


def variables(pod: dict[str, Any], container: int = 0) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in pod["containers"][container].get("env", [])}


def stages_with(pods: Pods, what: str) -> set[str]:
    return {stage.partition(".")[0] for stage, pod in pods.items() if what in str(pod)}


def test_training_over_rdma_has_its_network_variables_devices_and_locked_memory():
    spec = make_spec(
        training={
            "nodes": 2,
            "resources": {"limits": {"nvidia.com/gpu": 1, "rdma/hca": 1, "memory": "8Gi"}},
            "pod": {
                "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"},
                "env": [
                    {"name": "NCCL_SOCKET_IFNAME", "value": "net1"},
                    {"name": "NCCL_IB_HCA", "value": "mlx5"},
                    {"name": "UCX_NET_DEVICES", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "ipcLock": True,
            },
        }
    )
    pods = pods_of(spec)
    assert stages_with(pods, "NCCL_IB_HCA") == {"preflight", "sft", "dpo", "promote"}
    metadata, pod = pods["sft"]
    assert metadata["annotations"] == {"k8s.v1.cni.cncf.io/networks": "rdma"}
    (container,) = pod["containers"]
    assert variables(pod)["NCCL_SOCKET_IFNAME"] == "net1"
    assert variables(pod)["UCX_NET_DEVICES"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert container["resources"]["limits"]["rdma/hca"] == 1
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert violations(pod) == ["pytorch: capabilities are added"], "nothing else breaks the restricted standard"
    assert [stage for stage, (_, p) in pods.items() if violations(p)] == ["preflight.training", "sft", "dpo", "promote"]


def test_only_stages_that_reach_hubs_and_endpoints_have_the_proxy_and_the_ca_of_the_data_stages():
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}
    certificates = {"name": "SSL_CERT_FILE", "value": "/mnt/ca/ca.crt"}
    ca = {"name": "ca", "configMap": {"name": "company-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    mount = {"name": "ca", "mountPath": "/mnt/ca"}
    settings = {"env": [proxy, certificates], "volumes": [ca], "volumeMounts": [mount]}
    pods = pods_of(make_spec(dataStages={"pod": settings}, publish={"uri": "s3://b/x", "s3SecretRef": {"name": "s"}}))
    data = {"resolve", "prepare", "preflight", "generate", "verify", "construct", "evaluate", "compare", "publish"}
    assert stages_with(pods, "HTTPS_PROXY") == stages_with(pods, "company-ca") == data
    for stage, (_, pod) in pods.items():
        assert violations(pod) == [], stage
        for container in containers(pod):
            main = stage in pods and container is pod["containers"][0] and "company-ca" in str(pod)
            assert (mount | {"readOnly": True} in container.get("volumeMounts", [])) == main, stage
            assert ("HTTPS_PROXY" in str(container)) == main, stage
    assert ca in pods["publish"][1]["volumes"]
    assert "HTTPS_PROXY" not in str(pods["verify.ada.coding"])


def test_with_workload_identity_only_data_stages_have_the_service_account_and_no_stage_has_keys():
    spec = make_spec(
        target={"family": "Llama3", "model": {"uri": "s3://models/target"}},
        publish={"uri": "s3://models/out"},
        dataStages={
            "pod": {
                "serviceAccountName": "fusionrun-data",
                "labels": {"azure.workload.identity/use": "true"},
                "env": [{"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"}],
            }
        },
    )
    pods = pods_of(spec)
    holders = {stage for stage, (_, pod) in pods.items() if pod.get("serviceAccountName") == "fusionrun-data"}
    assert {"resolve", "fetch.target", "publish"} <= holders
    assert not [s for s in holders if s.startswith(("serve", "score", "sft", "dpo")) or s.endswith("coding")]
    for stage, (metadata, pod) in pods.items():
        assert pod["automountServiceAccountToken"] is False, stage
        assert "AWS_ACCESS_KEY_ID" not in variables(pod), stage
        assert ("azure.workload.identity/use" in metadata["labels"]) == (stage in holders), stage


def test_an_own_variable_replaces_the_optional_key_of_a_secret_and_cannot_read_one_of_the_operator():
    pod = {"env": [{"name": "AWS_ENDPOINT_URL", "value": "https://$(AWS_SECRET_ACCESS_KEY).example"}]}
    found = pods_of(make_spec(s3={"secretRef": {"name": "keys"}}, dataStages={"pod": pod}))["resolve"][1]
    names_ = [e["name"] for e in found["containers"][0]["env"]]
    assert names_[0] == "AWS_ENDPOINT_URL", "a reference is expanded from earlier variables only"
    assert names_.count("AWS_ENDPOINT_URL") == 1
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(names_)


def test_every_pod_can_opt_out_of_istio_and_has_the_labels_of_the_administrator():
    spec = make_spec(scheduling={"annotations": {"sidecar.istio.io/inject": "false"}})
    settings = replace(SETTINGS, pod_defaults=PodSettings(labels={"cost-center": "ml"}))
    for stage, (metadata, _) in pods_of(spec, settings).items():
        assert metadata["annotations"] == {"sidecar.istio.io/inject": "false"}, stage
        assert metadata["labels"]["cost-center"] == "ml", stage
        assert metadata["labels"][names.LABEL_STAGE] == stage


def test_only_pods_with_gpus_have_the_settings_of_pods_with_gpus():
    gpu = {"limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}}
    spec = changed(make_spec(training={"resources": gpu}), "sources.0.served.resources", gpu)
    settings = replace(
        SETTINGS,
        gpu_pod_defaults=PodSettings.model_validate(
            {"runtimeClassName": "nvidia", "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}
        ),
    )
    pods = pods_of(spec, settings)
    found = {stage for stage, (_, pod) in pods.items() if pod.get("runtimeClassName") == "nvidia"}
    assert found == {stage for stage, (_, pod) in pods.items() if pod.get("tolerations")}
    assert found == {"preflight.training", "serve.ada", "sft", "dpo", "promote"}
    own = changed(spec, "training.pod", {"runtimeClassName": "kata"})
    assert pods_of(own, settings)["sft"][1]["runtimeClassName"] == "kata"


def test_placement_of_each_part_extends_that_of_the_run():
    term = {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    spread = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"fusionrun.dev/run": "tiny"}},
    }
    lost = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 60}
    spec = make_spec(
        scheduling={"nodeSelector": {"pool": "ml"}, "tolerations": [{"key": "ml", "operator": "Exists"}]},
        training={
            "pod": {
                "nodeSelector": {"disk": "fast"},
                "affinity": affinity,
                "topologySpreadConstraints": [spread],
                "tolerations": [lost],
                "schedulerName": "volcano",
            }
        },
        sandbox={"pod": {"nodeSelector": {"pool": "sandbox"}}},
    )
    pods = {stage: pod for stage, (_, pod) in pods_of(spec).items()}
    sft = pods["sft"]
    assert sft["nodeSelector"] == {"pool": "ml", "disk": "fast"}
    assert sft["tolerations"] == [{"key": "ml", "operator": "Exists"}, lost]
    assert (sft["affinity"], sft["topologySpreadConstraints"]) == (affinity, [spread])
    assert sft["schedulerName"] == "volcano"
    assert pods["resolve"]["nodeSelector"] == {"pool": "ml"}
    assert pods["verify.ada.coding"]["nodeSelector"] == {"pool": "sandbox"}
    assert "affinity" not in pods["resolve"]


EVERYTHING: dict[str, Any] = {
    "serviceAccountName": "cloud",
    "labels": {"azure.workload.identity/use": "true"},
    "annotations": {"k8s.v1.cni.cncf.io/networks": "open"},
    "env": [{"name": "TZ", "valueFrom": {"secretKeyRef": SECRET}}],
    "volumes": [{"name": "own", "secret": {"secretName": "team"}}],
    "volumeMounts": [{"name": "own", "mountPath": "/mnt/own"}],
}


@pytest.mark.parametrize("reward", [make_spec()["rewardModel"] | {"model": TRUSTED}, called_reward()])
def test_a_pod_with_foreign_code_takes_nothing_that_opens_it(reward):
    """Neither from the other parts, nor from the run, nor from the administrator."""
    open_keys = {name: EVERYTHING[name] for name in ("labels", "annotations")}
    spec = make_spec(rewardModel=reward, scheduling=open_keys, training={"pod": EVERYTHING})
    spec["dataStages"] = {"pod": EVERYTHING}
    spec["sources"][0]["served"]["model"] = TRUSTED
    defaults = PodSettings.model_validate({
        "labels": EVERYTHING["labels"],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/mnt/ca"}],
    })  # fmt: skip
    pods = pods_of(spec, replace(SETTINGS, pod_defaults=defaults))
    isolating = {names.LABEL_SANDBOX, names.LABEL_REMOTE_CODE}
    closed = {stage: pod for stage, pod in pods.items() if isolating & set(pod[0]["labels"])}
    assert {"verify.ada.coding", "serve.ada"} <= set(closed)
    for stage, (metadata, pod) in closed.items():
        assert "annotations" not in metadata, stage
        assert "azure.workload.identity/use" not in metadata["labels"], stage
        assert "serviceAccountName" not in pod, stage
        assert "team" not in str(pod), stage
        if names.LABEL_SANDBOX in metadata["labels"]:
            for container in containers(pod):
                assert "HTTPS_PROXY" not in str(container), stage
                assert "/mnt/ca" not in str(container), stage
        assert violations(pod) == []


def test_a_secret_of_the_settings_of_a_later_stage_is_looked_for_at_the_start():
    spec = make_spec(training={"pod": {name: EVERYTHING[name] for name in ("env", "volumes", "volumeMounts")}})
    (access,) = pods_of(spec)["resolve"][1]["initContainers"]
    assert [e["valueFrom"]["secretKeyRef"] for e in access["env"]] == [SECRET]
