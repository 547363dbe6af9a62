"""Installs the chart without cluster-wide rights in a namespace that denies all traffic, and uninstalls it.

No other operator may watch the namespace of the tests.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusionrun.state.observe.pending_pods import CHECK_SECONDS
from support.live import CACHE, REPOSITORY, Cluster, small_run, wait_until_established
from support.stand_in_run import until

pytestmark = pytest.mark.integrations
RELEASE, RUN, PRIORITY_CLASS = "fusionrun", "refused", "no-such-class"
CRD = "fusionruns.fusionrun.dev"
INSTALLER = "installer-of-fusionrun"
MADE_BY_OTHERS = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def installer_rights() -> list[dict[str, Any]]:
    """Return the rights of an administrator of the namespace who may also write Roles with rights of the operator."""
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [group], "resources": ["roles", "rolebindings"], "verbs": ["*"]}
    subject = {"apiGroup": group, "kind": "User", "name": INSTALLER}

    def binding(name: str, kind: str, role: str) -> dict[str, Any]:
        ref = {"apiGroup": group, "kind": kind, "name": role}
        named = {"kind": "RoleBinding", "metadata": {"name": name}}
        return {"apiVersion": f"{group}/v1", **named, "roleRef": ref, "subjects": [subject]}

    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "escalate"}, "rules": [rule]}
    return [role, binding("escalate", "Role", "escalate"), binding("admin", "ClusterRole", "admin")]


def default_deny() -> dict[str, Any]:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    named = {"kind": "NetworkPolicy", "metadata": {"name": "default-deny"}}
    return {"apiVersion": "networking.k8s.io/v1", **named, "spec": spec}


def claim() -> dict[str, Any]:
    """Return a claim that no pod uses."""
    wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    named = {"kind": "PersistentVolumeClaim", "metadata": {"name": "fusion-data"}}
    return {"apiVersion": "v1", **named, "spec": wanted}


def values(cluster: Cluster) -> dict[str, Any]:
    """Return the values with which the chart needs nothing outside of the namespace but the CRD."""
    images: dict[str, Any] = {}
    for name, reference in json.loads((CACHE / "images" / "refs.json").read_text()).items():
        repository, _, tag = reference.rpartition(":")
        registry, _, repository = repository.rpartition("/")
        images[name] = {"registry": registry, "repository": repository, "tag": tag}
    (endpoints,) = cluster.get("endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes")[
        "items"
    ]
    return {
        "images": {name: images[name] for name in ("operator", "data", "serve", "train", "reward", "sandbox")},
        "watchNamespaces": [cluster.namespace],
        "rbac": {"clusterScoped": False},
        "crds": {"enabled": False},
        "networkPolicy": {"apiServerPorts": [port["port"] for port in endpoints["ports"]]},
    }


def helm(cluster: Cluster, *arguments: str) -> None:
    """Run Helm in the namespace with the rights of the installer."""
    command = ["helm", *arguments, "--namespace", cluster.namespace, "--kube-as-user", INSTALLER, "--wait"]
    done = subprocess.run([*command, "--timeout", "3m"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Install the CRD as an administrator, and the chart without cluster-wide rights."""
    found = Cluster(f"install-{uuid.uuid4().hex[:8]}")
    crd = REPOSITORY / "manifests" / "crd.yaml"
    found.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd))
    wait_until_established(yaml.safe_load(crd.read_text()))
    found.kubectl("create", "namespace", found.namespace)
    try:
        found.kubectl("label", "namespace", found.namespace, "pod-security.kubernetes.io/enforce=restricted")
        prepared = [*installer_rights(), default_deny(), claim()]
        found.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(prepared))
        file = Path(tmp_path_factory.mktemp("values")) / "values.yaml"
        file.write_text(yaml.safe_dump(values(found)))
        helm(found, "install", RELEASE, str(REPOSITORY / "helm" / "fusionrun"), "-f", str(file))
        yield found
    finally:
        found.kubectl("delete", "namespace", found.namespace)


def objects(cluster: Cluster, selector: str = "") -> set[str]:
    """Return all objects of the namespace but events and those that Kubernetes makes, as TYPE/NAME."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    stored = [k for k in kinds if k.partition(".")[0] != "events" and not k.endswith("metrics.k8s.io")]
    listed = cluster.get(",".join(stored), "-l", selector)["items"]
    return {f"{o['kind'].lower()}/{o['metadata']['name']}" for o in listed} - MADE_BY_OTHERS


def until_gone(cluster: Cluster, kinds: str, selector: str) -> None:
    cluster.kubectl("wait", "--for=delete", kinds, "-l", selector, "--timeout=60s")


def test_the_operator_has_rights_in_its_namespace_only(cluster):
    user = f"system:serviceaccount:{cluster.namespace}:{RELEASE}"

    def may(verb: str, resource: str, *options: str) -> bool:
        return cluster.kubectl("auth", "can-i", verb, resource, "--as", user, *options, check=False).startswith("yes")

    assert may("create", "jobs.batch")
    assert not may("create", "jobs.batch", "-n", "default")
    assert not may("list", "namespaces")
    assert not may("get", "runtimeclasses.node.k8s.io")
    assert not may("get", "secrets")
    instance = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"
    assert cluster.get("clusterroles,clusterrolebindings", "-l", instance)["items"] == []


def test_a_run_is_not_held_by_what_the_operator_may_not_look_up(cluster):
    run = small_run(RUN, prompts=10, measured=10)
    run["spec"]["scheduling"] = {**run["spec"].get("scheduling", {}), "priorityClassName": PRIORITY_CLASS}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(run))

    def stage() -> dict[str, Any]:
        stages = cluster.get("fr", RUN).get("status", {}).get("stages", [])
        return next((s for s in stages if s["name"] == "resolve"), {})

    refused = until(
        stage, lambda s: PRIORITY_CLASS in s.get("message", ""), "it says why it has no pod", 2 * CHECK_SECONDS
    )
    assert refused["reason"] == "PodsPending"
    log = cluster.kubectl("logs", f"deployment/{RELEASE}").splitlines()
    warnings = [line for line in log if PRIORITY_CLASS in line and "runs do not wait for it" in line]
    assert len(warnings) == 1, "one for each object"


def test_uninstalling_keeps_runs_and_leaves_only_the_lease(cluster):
    before = objects(cluster)
    helm(cluster, "uninstall", RELEASE)
    until_gone(cluster, "pods,replicasets,endpointslices", "app.kubernetes.io/component=operator")
    left = objects(cluster)
    chart = objects(cluster, f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator")
    assert chart == set()
    assert f"fusionrun/{RUN}" in left
    of_run = objects(cluster, f"fusionrun.dev/run={RUN}")
    assert {kind.partition("/")[0] for kind in of_run} >= {"job", "configmap", "networkpolicy"}, "they continue"
    prepared = {"role/escalate", "rolebinding/escalate", "rolebinding/admin", "networkpolicy/default-deny"}
    rest = left - of_run - prepared - {f"fusionrun/{RUN}", "persistentvolumeclaim/fusion-data"}
    assert len(rest) == 1, rest
    assert rest.pop().startswith("lease/fusionrun-operator")
    assert f"deployment/{RELEASE}" in before
    assert f"deployment/{RELEASE}" not in left


def test_without_an_operator_a_deleted_run_takes_its_objects_along(cluster):
    """The operator sets no finalizer."""
    cluster.kubectl("delete", "fr", RUN, "--timeout=60s")
    until_gone(cluster, "jobs,configmaps,networkpolicies,services", f"fusionrun.dev/run={RUN}")


def test_deleting_the_crd_is_the_last_step(cluster):
    others = cluster.kubectl("get", "fr", "-A", "-o", "name").split()
    if others:
        pytest.skip(f"the cluster has other runs: {len(others)}")
    cluster.kubectl("delete", "crd", CRD, "--timeout=60s")
    until(lambda: cluster.kubectl("api-versions"), lambda groups: "fusionrun.dev/" not in groups, "the group is gone")
