"""Runs under a real Kueue (hack/integrations/kueue) on the local cluster, with GPUs that exist only as a number.

FUSIONRUN_KUEUE_VERSION is the version of Kueue (0.19.2 by default; 0.9.1). With FUSIONRUN_KUEUE_V1BETA1=0 the cluster
does not serve v1beta1, as from Kueue 0.20 on. The CRD of this checkout must be installed, and no other operator may
watch the namespace of the tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.live import REPOSITORY, Cluster
from support.stand_in_run import IMAGES, gpus, operator, spec, start, until

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.skipif(
        os.environ.get("CLUSTER", "local") != "local", reason="the images are loaded without a registry"
    ),
]

VERSION = os.environ.get("FUSIONRUN_KUEUE_VERSION", "0.19.2")
SERVES_V1BETA1 = os.environ.get("FUSIONRUN_KUEUE_V1BETA1", "1") == "1"
KUEUE = REPOSITORY / "hack" / "integrations" / "kueue"
API = "kueue.x-k8s.io/v1beta1" if VERSION.startswith("0.9.") else "kueue.x-k8s.io/v1beta2"
NAMESPACE = "fusionrun-kueue"
NODE_GPUS = 8


def install(*options: str) -> None:
    """Install Kueue, or change its configuration."""
    served = () if SERVES_V1BETA1 else ("--without-v1beta1",)
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run([KUEUE / "install", VERSION, *options, *served], env=environment, check=True)


def apply(cluster: Cluster, *manifests: dict[str, Any]) -> None:
    """Apply objects."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


def namespace() -> list[dict[str, Any]]:
    """Return the namespace of the tests, which Kueue's webhooks select, and a claim that no pod uses."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "fusionrun.dev/kueue": "true"}
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    claim = {"name": "fusion-data", "namespace": NAMESPACE}
    volume = {"capacity": size, "accessModes": modes, "hostPath": {"path": "/tmp"}, "claimRef": claim}
    wanted = {"accessModes": modes, "resources": {"requests": size}, "volumeName": NAMESPACE, "storageClassName": ""}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAMESPACE}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim, "spec": wanted},
    ]


def cluster_queue(name: str, gpu_quota: int) -> dict[str, Any]:
    """Return a ClusterQueue with the strategy StrictFIFO, in which a higher priority preempts a lower one."""
    quotas = {"cpu": "100", "memory": "100Gi", "nvidia.com/gpu": gpu_quota}
    flavor = {"name": "node", "resources": [{"name": r, "nominalQuota": q} for r, q in quotas.items()]}
    return {
        "apiVersion": API,
        "kind": "ClusterQueue",
        "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {},
            "queueingStrategy": "StrictFIFO",
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": list(quotas), "flavors": [flavor]}],
        },
    }


def local_queue(name: str) -> dict[str, Any]:
    """Return a LocalQueue of the ClusterQueue with the same name."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API, "kind": "LocalQueue", "metadata": metadata, "spec": {"clusterQueue": name}}


def priority(name: str, value: int) -> dict[str, Any]:
    """Return a WorkloadPriorityClass."""
    return {"apiVersion": API, "kind": "WorkloadPriorityClass", "metadata": {"name": name}, "value": value}


def rival(count: int) -> dict[str, Any]:
    """Return a Job of another team with a high priority that keeps GPUs until it is deleted."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": IMAGES.data, "command": ["python"], "resources": gpus(count)}
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container | {"securityContext": context}],
    }
    labels = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/priority-class": "high"}
    metadata = {"name": "rival", "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    """Give the node GPUs, and take them away again."""
    everything = Cluster("default")
    (name,) = (n["metadata"]["name"] for n in everything.get("nodes")["items"])
    path = "/status/capacity/nvidia.com~1gpu"
    patch = ["patch", "node", name, "--subresource=status", "--type=json", "-p"]
    everything.kubectl(*patch, json.dumps([{"op": "add", "path": path, "value": str(NODE_GPUS)}]))
    yield
    gone = [{"op": "remove", "path": p} for p in (path, path.replace("capacity", "allocatable"))]
    everything.kubectl(*patch, json.dumps(gone), check=False)


@pytest.fixture(scope="module")
def cluster(node: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a namespace with a claim, which an operator of this checkout watches."""
    found = Cluster(NAMESPACE)
    apply(found, *namespace())
    with operator(NAMESPACE, tmp_path_factory.mktemp("operator")):
        yield found
        found.kubectl("delete", "fusionrun", "--all", check=False)
    found.kubectl("delete", "namespace", NAMESPACE)
    found.kubectl("delete", "persistentvolume", NAMESPACE)


@pytest.fixture(scope="module", autouse=True)
def uninstalled() -> Iterator[None]:
    """Remove Kueue before and after the tests."""
    subprocess.run([KUEUE / "uninstall"], check=True)
    yield
    subprocess.run([KUEUE / "uninstall"], check=True)


@pytest.fixture
def kueue(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with Kueue, with quota for one GPU, and without runs of other tests."""
    if "kueue-controller-manager" not in cluster.kubectl("get", "deployments", "-n", "kueue-system", "-o", "name"):
        install()
    flavor = {"apiVersion": API, "kind": "ResourceFlavor", "metadata": {"name": "node"}}
    apply(cluster, flavor, priority("low", 1), priority("high", 1000), cluster_queue("gpus", 1), local_queue("gpus"))
    yield cluster
    cluster.kubectl("delete", "fusionrun,job", "--all", "--wait")
    until(lambda: cluster.get("pods")["items"], lambda pods: not pods, "no pods of an earlier test")


def test_a_run_waits_for_kueue_and_for_its_queue(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    run = start(cluster, "absent", **spec(queueName="gpus"))
    found = until(run.ready, lambda c: c.get("reason") == "KueueMissing", "KueueMissing")
    assert "install Kueue" in found["message"]
    install()
    found = until(run.ready, lambda c: c.get("reason") == "LocalQueueMissing", "LocalQueueMissing")
    assert "spec.scheduling.queueName: 'gpus': no such LocalQueue" in found["message"]
    request.getfixturevalue("kueue")
    until(run.ready, lambda c: c.get("reason") in ("StagesRunning", "StageFailed"), "its stages start")


def test_with_quota_for_one_server_the_next_one_waits_and_no_client_does(kueue: Cluster) -> None:
    run = start(kueue, "servers", "serve/ada", **spec(queueName="gpus"))
    until(lambda: {run.stage(f"serve/{s}").get("state") for s in ("ada", "bob")}, {"Ready", "Running"}.__eq__, "one")
    first, second = ("ada", "bob") if run.stage("serve/ada")["state"] == "Ready" else ("bob", "ada")
    text = "insufficient unused quota for nvidia.com/gpu in flavor node, 1 more needed"
    found = run.wait_for(f"serve/{second}", "Queued", text, seconds=90)
    assert "waiting for admission by Kueue in LocalQueue 'gpus'" in found["message"]
    assert "kueue.x-k8s.io/queue-name" not in run.object_of(f"generate/{first}")["metadata"]["labels"]
    run.succeed(f"generate/{first}")
    until(lambda: run.stage(f"generate/{first}").get("state"), "Succeeded".__eq__, "the client of the first server")
    until(lambda: run.stage(f"serve/{second}").get("state"), "Ready".__eq__, "the second server")
    assert run.events("QueueIgnored") == []


@pytest.mark.parametrize("stage", ["sft", "serve/ada"])
def test_a_preempted_stage_continues_with_the_same_object(kueue: Cluster, stage: str) -> None:
    name, reason = stage.partition("/")[0], "PodsRunning" if stage == "sft" else "ServerReady"
    run = start(
        kueue, f"preempted-{name}", stage, **spec(queueName="gpus", workloadPriorityClassName="low", maxServers=1)
    )
    run.wait_for(stage, reason)
    uid = run.object_of(stage)["metadata"]["uid"]
    apply(kueue, rival(1))
    text = "Preempted" if stage == "sft" else "insufficient unused quota"
    found = run.wait_for(stage, "Queued", text, seconds=90)
    assert "attempt" not in found
    assert run.get()["status"]["gpusInUse"] == 0
    kueue.kubectl("delete", "job", "rival", "--wait")
    run.wait_for(stage, reason)
    assert run.object_of(stage)["metadata"]["uid"] == uid
    assert run.events("StageRetried") == []


def test_a_request_larger_than_the_quota_is_reported(kueue: Cluster) -> None:
    run = start(kueue, "large", "sft", **spec(gpus_per_stage=2, queueName="gpus"))
    run.wait_for("sft", "Queued", "maximum capacity", seconds=90)


def test_a_deactivated_workload_is_reported(kueue: Cluster) -> None:
    run = start(kueue, "deactivated", "sft", **spec(queueName="gpus"))
    run.wait_for("sft", "PodsRunning")
    uid = run.object_of("sft")["metadata"]["uid"]
    (found,) = kueue.get("workloads", "-l", f"kueue.x-k8s.io/job-uid={uid}")["items"]
    name = found["metadata"]["name"]
    kueue.kubectl("patch", "workload", name, "--type", "merge", "-p", '{"spec": {"active": false}}')
    run.wait_for("sft", "Queued", f"Kueue has deactivated Workload {name}", seconds=90)
    kueue.kubectl("patch", "workload", name, "--type", "merge", "-p", '{"spec": {"active": true}}')
    run.wait_for("sft", "PodsRunning")


def test_jobs_without_gpus_have_a_queue_of_their_own(kueue: Cluster) -> None:
    apply(kueue, cluster_queue("cpus", 0), local_queue("cpus"))
    run = start(kueue, "cpus", "generate/ada", **spec(queueName="gpus", cpuQueueName="cpus", maxServers=1))
    run.wait_for("serve/ada", "ServerReady")
    run.wait_for("generate/ada", "PodsRunning")
    uid = run.object_of("generate/ada")["metadata"]["uid"]
    (found,) = kueue.get("workloads", "-l", f"kueue.x-k8s.io/job-uid={uid}")["items"]
    assert found["spec"]["queueName"] == "cpus"


IGNORED = {"serve/ada": "deployment", "sft": "kubeflow.org/pytorchjob"}


@pytest.mark.parametrize("stage", list(IGNORED))
def test_an_ignored_queue_is_reported_and_the_stage_runs(kueue: Cluster, stage: str) -> None:
    install("--without", IGNORED[stage])
    try:
        name = stage.partition("/")[0]
        run = start(kueue, f"ignored-{name}", stage, **spec(queueName="gpus", maxServers=1))
        found = run.wait_for(stage, "QueueIgnored", IGNORED[stage], seconds=90)
        assert found["state"] in ("Running", "Ready")
        until(lambda: run.events("QueueIgnored"), bool, "an event")
        until(lambda: run.get()["status"]["gpusInUse"], lambda gpus: gpus == 1, "its pod has a node")
    finally:
        kueue.kubectl("delete", "fusionrun", "--all", "--wait")
        install()
