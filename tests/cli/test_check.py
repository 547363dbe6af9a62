"""``check``: its findings about a cluster with GPUs, Kueue and Prometheus, and about the local one.

The first exists only in this file. Its objects follow the documentation of Kubernetes, NVIDIA's GPU feature discovery,
Kueue and the Prometheus operator, and have the fields that are read.
"""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusionrun.cli import check
from fusionrun.cli.checks import findings
from fusionrun.cli.checks.controllers import OPERATOR
from fusionrun.cli.kubectl import KubectlError

ROOT = Path(__file__).parents[2]
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559",
        "nvidia.com/cuda.driver.major": "580"}  # fmt: skip


def node(gpus: int = 8, labels: dict | None = H100, kernel: str = "6.8.0-1021-aws") -> dict:
    return {
        "metadata": {"labels": labels},
        "status": {"allocatable": {"cpu": "192", "nvidia.com/gpu": str(gpus)}, "nodeInfo": {"kernelVersion": kernel}},
    }


def named(name: str, **fields) -> dict:
    return {"metadata": {"name": name}, **fields}


def crd(name: str, *served: str) -> dict:
    return named(name, spec={"versions": [{"name": version, "served": True} for version in served]})


def deployment(image: str) -> dict:
    return {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}


CLUSTER = {
    "version": {"serverVersion": {"gitVersion": "v1.33.2-eks-1a2b3c4"}},
    "nodes": [node(), node(), node(0, {})],
    "storageclasses": [
        {
            "metadata": {"name": "gp3", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "ebs.csi.aws.com",
        },
        named("efs", provisioner="efs.csi.aws.com"),
    ],
    "persistentvolumeclaims": [
        named(
            "fusion-data",
            spec={"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "2Ti"}}},
            status={"phase": "Bound", "capacity": {"storage": "2Ti"}},
        )
    ],
    "runtimeclasses": [named("gvisor", handler="runsc"), named("nvidia", handler="nvidia")],
    "customresourcedefinitions": [
        crd("localqueues.kueue.x-k8s.io", "v1beta2"),
        crd("servicemonitors.monitoring.coreos.com", "v1"),
        crd("podmonitors.monitoring.coreos.com", "v1"),
        crd("fusionruns.fusionrun.dev", "v1alpha1"),
    ],
    "deployments app.kubernetes.io/name=kueue": [deployment("registry.example/kueue/kueue:v0.19.2")],
    f"deployments {OPERATOR}": [],
    "localqueues.kueue.x-k8s.io": [named("user-queue")],
    "daemonsets": [named("aws-node"), named("cilium")],
    "networkpolicies": [],
    "namespace": {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    "resourcequotas": [],
    "serviceaccount": {"imagePullSecrets": [{"name": "registry-key"}]},
    "can-i": "yes\n",
}


class Recorded:
    """A cluster with these objects."""

    def __init__(self, objects: dict) -> None:
        self.objects = objects

    def read(self, *words: str):
        kind = words[1] if words[0] == "get" else words[0]
        found = self.objects[f"{kind} {words[-1]}" if kind in ("deployments", "configmap") else kind]
        if isinstance(found, KubectlError):
            raise found
        return {"items": found} if isinstance(found, list) else found

    def text(self, *_words: str) -> str:
        if self.objects["can-i"] == "no\n":
            raise KubectlError("no")
        return self.objects["can-i"]


def rows(**changes) -> dict[str, tuple[str, str, str]]:
    found = findings(Recorded(copy.deepcopy(CLUSTER) | changes), "fusion")
    return {row.check: (row.level.value, row.found, row.advice) for row in found}


def test_a_cluster_with_everything():
    found = rows()
    assert {name for name, row in found.items() if row[0] != "ok"} == set()
    assert found["GPUs (nodes x GPUs)"][1] == "2 x 8 NVIDIA-H100-80GB-HBM3 (81559 MiB)"
    assert found["StorageClasses"][1] == "gp3 [default] (ebs.csi.aws.com), efs (efs.csi.aws.com)"
    assert found["claims in fusion"][1] == "fusion-data (2Ti, ReadWriteMany, Bound)"
    assert found["RuntimeClasses"][2].startswith("set scheduling.sandboxRuntimeClassName to gvisor; nvidia: set")
    assert found["training backends"][1:] == ("Job", "training.backend: Auto uses Job, which needs nothing")
    assert found["Kueue"][1] == "kueue:v0.19.2 serves v1beta2"
    assert found["LocalQueues in fusion"][1] == "user-queue"
    assert found["Prometheus operator"][1] == "ServiceMonitor, PodMonitor"
    assert found["pull secrets in fusion"][1] == "registry-key"
    assert found["FusionRun"][1] == "only the CRD"


BACKENDS = [crd("pytorchjobs.kubeflow.org", "v1"), crd("trainjobs.trainer.kubeflow.org", "v1alpha1"),
            crd("jobsets.jobset.x-k8s.io", "v1alpha2")]  # fmt: skip
DENY = named("default-deny", spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
ALLOW = named("allow", spec={"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})


@pytest.mark.parametrize(
    ("changes", "check_name", "level", "found", "advice"),
    [
        (
            {"version": {"serverVersion": {"gitVersion": "v1.28.9"}}},
            "Kubernetes",
            "MISSING",
            "v1.28.9",
            "1.29 or newer",
        ),
        ({"nodes": [node(0, {})]}, "GPUs (nodes x GPUs)", "note", "none", "device plugin"),
        ({"nodes": [node(1, None)]}, "GPUs (nodes x GPUs)", "ok", "1 x 1 GPU of unknown model", ""),
        ({"nodes": [node(1, None)]}, "NVIDIA driver", "unknown", "no label", "580 or newer"),
        (
            {"nodes": [node(1, H100 | {"nvidia.com/cuda.driver.major": "550"})]},
            "NVIDIA driver",
            "MISSING",
            "550",
            "580",
        ),
        ({"nodes": [node(kernel="5.10.0-30"), node()]}, "kernels", "note", "5.10.0-30, 6.8.0-1021-aws", "Landlock"),
        ({"storageclasses": []}, "StorageClasses", "note", "none", "CSI driver"),
        ({"storageclasses": CLUSTER["storageclasses"][:1]}, "StorageClasses", "note", "gp3", "ReadWriteMany"),
        ({"persistentvolumeclaims": []}, "claims in fusion", "note", "none", "manifests/samples/claims"),
        ({"runtimeclasses": []}, "RuntimeClasses", "note", "none", "leave out sandboxRuntimeClassName"),
        ({"customresourcedefinitions": BACKENDS}, "training backends", "ok", "PyTorchJob, TrainJob, Job", "PyTorchJob"),
        ({"customresourcedefinitions": BACKENDS[1:]}, "training backends", "ok", "TrainJob, Job", "Auto uses TrainJob"),
        ({"customresourcedefinitions": BACKENDS[1:2]}, "training backends", "ok", "Job", "which needs nothing"),
        ({"customresourcedefinitions": []}, "Kueue", "ok", "none", "leave out scheduling.queueName"),
        ({"customresourcedefinitions": [crd("localqueues.kueue.x-k8s.io", "v1")]}, "Kueue", "note", "v1", "v1beta2"),
        ({"customresourcedefinitions": []}, "Prometheus operator", "ok", "none", "disabled"),
        ({"customresourcedefinitions": []}, "FusionRun", "ok", "not installed", "docs/operations.md"),
        ({"daemonsets": [named("kube-flannel-ds")]}, "NetworkPolicy engine", "note", "not recognised", "do not start"),
        ({"networkpolicies": [ALLOW, DENY]}, "default deny in fusion", "ok", "default-deny", "for each run"),
        ({"resourcequotas": [named("team")]}, "ResourceQuotas in fusion", "note", "team", "ObjectRefused"),
        (
            {"namespace": KubectlError('namespaces "fusion" not found')},
            "namespace fusion",
            "note",
            "",
            "create namespace",
        ),
        ({"serviceaccount": {}}, "pull secrets in fusion", "ok", "none", "images.pullSecrets"),
        ({"can-i": "no\n"}, "may create fusionruns in fusion", "note", "no", "role edit"),
        ({"nodes": KubectlError("nodes is forbidden")}, "gpus", "unknown", "nodes is forbidden", ""),
    ],
)
def test_what_a_cluster_lacks(changes, check_name, level, found, advice):
    row = rows(**changes)[check_name]
    assert row[0] == level, row
    assert found in row[1]
    assert advice in row[2]


ALL = "namespaces: []"
LISTED = 'namespaces: ["one","two"]'


def operators(*settings: str | None) -> dict:
    """Return the objects of operators in the namespaces a, b and so on; None: the ConfigMap must not be read."""
    objects: dict = {f"deployments {OPERATOR}": []}
    for namespace, text in zip("abc", settings, strict=False):
        made = deployment("registry.example/fusionrun-operator:0.3.0")
        made["metadata"] = {"name": "fusionrun", "namespace": namespace}
        made["spec"]["template"]["spec"]["volumes"] = [
            {"name": "tmp", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "fusionrun-settings"}},
        ]
        objects[f"deployments {OPERATOR}"].append(made)
        found = {"data": {"settings.yaml": f"images: {{}}\n{text}\npolicy: {{}}\n"}}
        objects[f"configmap {namespace}"] = KubectlError("forbidden") if text is None else found
    return objects


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ((f"{ALL}\nlease_namespace: a", f"{ALL}\nlease_namespace: a"), "ok"),
        ((f"{ALL}\nlease_namespace: a", f"{ALL}\nlease_namespace: b"), "note"),
        ((ALL, ALL), "note"),
        ((f"{LISTED}\nlease_namespace: a", f"{ALL}\nlease_namespace: a"), "note"),
        ((f"{LISTED}\nlease_namespace: a", 'namespaces: ["two"]\nlease_namespace: a'), "note"),
        ((f"{LISTED}\nlease_namespace: a", 'namespaces: ["two","one"]\nlease_namespace: a'), "ok"),
        ((f"{LISTED}\nlease_namespace: a", 'namespaces: ["three"]\nlease_namespace: b'), "ok"),
        ((LISTED, 'namespaces: ["three"]'), "ok"),
        ((f"{ALL}\nlease_namespace: a", None), "note"),
        ((f"{ALL}\nlease_namespace: a", "lease_namespace: a"), "note"),
    ],
    ids=[
        "one Lease", "two Leases", "no Leases", "all and listed namespaces", "lists that overlap", "the same list",
        "other namespaces", "other namespaces without Leases", "a ConfigMap that must not be read", "other settings",
    ],
)  # fmt: skip
def test_operators_that_act_on_the_same_runs(settings, level):
    found = rows(**operators(*settings))
    assert found["FusionRun"] == ("ok", "fusionrun-operator:0.3.0", "")
    assert found["FusionRun operators"][:2] == (level, "a/fusionrun, b/fusionrun")
    advice = found["FusionRun operators"][2]
    assert ("operator.leaseNamespace" in advice, "watchNamespaces" in advice) == (level == "note", level == "note")


def test_one_operator_acts_alone():
    assert "FusionRun operators" not in rows(**operators(ALL))


def test_the_exit_status_tells_what_is_missing(monkeypatch, capsys):
    recorded = Recorded(copy.deepcopy(CLUSTER))
    monkeypatch.setattr("fusionrun.cli.check.Kubectl", lambda *_: recorded)
    assert check.main(["-n", "fusion"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["CHECK", "FOUND", "WHAT", "TO", "DO"]
    recorded.objects["version"] = {"serverVersion": {"gitVersion": "v1.28.9"}}
    assert check.main([]) == 1


def test_without_packages_and_without_a_cluster_it_says_so(tmp_path):
    """``-S`` hides all installed packages."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'connection refused' >&2; exit 1\n")
    kubectl.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "fusionrun", "check"],
        env={"PYTHONPATH": str(ROOT / "operator"), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "the cluster does not answer: connection refused\n")


def test_a_command_without_its_packages_names_them():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "fusionrun", "lint", "run.yaml"],
        env={"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'fusionrun[cli]'" in done.stderr


@pytest.mark.cluster
@pytest.mark.parametrize(
    "command",
    [[str(ROOT / "hack" / "cluster" / "status")], ["kubectl", "fusionrun", "check", "-n", "default"]],
    ids=["status", "plugin"],
)
def test_the_local_cluster_has_what_runs_need(command):
    """``make cluster-status`` runs the first command. pip puts the plugin of kubectl beside the interpreter."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env=os.environ | {"CLUSTER": "existing", "NAMESPACE": "default", "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line.split("   ")[0]: line for line in done.stdout.splitlines()}
    assert " ok " in found["Kubernetes"]
    assert "PyTorchJob" in found["training backends"]
    assert "kube-network-policies" in found["NetworkPolicy engine"]
    assert "may create fusionruns in default" in found
