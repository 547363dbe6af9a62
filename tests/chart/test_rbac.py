"""The operator has exactly the rights that its client uses, and docs/security.md lists them."""

import itertools
import re

import pytest

from fusionrun.cluster.gather import CHILDREN
from fusionrun.cluster.resources import RESOURCES
from support.chart import one, settings_of

MODES = {
    "A": (),
    "B": ('watchNamespaces=["a","b"]',),
    "C": ('watchNamespaces=["a","b"]', "rbac.clusterScoped=false"),
}
"""The values of each column of the table in docs/security.md."""


def rules(role):
    found = {}
    for rule in role["rules"]:
        for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
            found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def granted(documents):
    """Return the scope and verbs of every resource of the operator, as in the table: cluster, namespaces or own."""
    scopes = {
        "cluster": [d for d in documents if d["kind"] == "ClusterRole" and d["metadata"]["name"] == "fusionrun"],
        "namespaces": [d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == "fusionrun"],
        "own": [one(documents, "Role", "fusionrun-lease")],
    }
    return {
        resource: (scope, verbs)
        for scope, roles in scopes.items()
        for role in roles[:1]
        for (_, resource), verbs in rules(role).items()
    }


def documented(root, mode):
    text = (root / "docs" / "security.md").read_text().split("**The operator**")[1].split("**Users")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    column = rows[0].index(mode)
    return {
        resource: (row[column], set(row[1].split(", ")))
        for row in rows[2:]
        for resource in row[0].split(", ")
        if row[column] != "no"
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_documented_rights_are_those_of_the_chart(helm, root, mode):
    sets = () if mode == "C" else ("policy.checkNodes=true",)
    assert granted(helm.template(*MODES[mode], *sets)) == documented(root, mode)


def test_rbac_grants_exactly_what_the_client_uses(helm):
    lease = one(helm.template(), "Role", "fusionrun-lease")
    assert lease["metadata"]["namespace"] == "fusionrun-system"
    assert rules(lease) == {("coordination.k8s.io", "leases"): {"get", "create", "update"}}
    granted = rules(one(helm.template(), "ClusterRole", "fusionrun"))
    wanted = {
        ("fusionrun.dev", "fusionruns"): {"get", "list", "watch"},
        ("fusionrun.dev", "fusionruns/status"): {"patch"},
        ("fusionrun.dev", "fusionruns/finalizers"): {"update"},
        ("", "pods/log"): {"get"},
        ("", "pods/status"): {"patch"},
        ("", "secrets"): {"create"},
        ("", "events"): {"get", "list", "create", "patch"},
        ("", "persistentvolumeclaims"): {"get", "list", "watch"},
        ("node.k8s.io", "runtimeclasses"): {"get"},
        ("scheduling.k8s.io", "priorityclasses"): {"get"},
        ("kueue.x-k8s.io", "localqueues"): {"get"},
        ("kueue.x-k8s.io", "workloads"): {"list"},
        ("kueue.x-k8s.io", "workloadpriorityclasses"): {"get"},
        ("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"},
    }
    for api_version, kind in CHILDREN:
        verbs = {"get", "list", "watch"} | ({"create"} if kind != "Pod" else set())
        verbs |= {"delete"} if kind != "NetworkPolicy" else set()
        wanted[api_version.rpartition("/")[0], RESOURCES[api_version, kind][0]] = verbs
    assert granted == wanted


def test_without_a_key_of_servers_the_operator_has_no_right_on_secrets(helm):
    everything = rules(one(helm.template(), "ClusterRole", "fusionrun"))
    without = rules(one(helm.template("serverKey.enabled=false"), "ClusterRole", "fusionrun"))
    assert {*everything} - {*without} == {("", "secrets")}


def test_named_namespaces_get_a_role_each_and_no_cluster_wide_rights(helm, tmp_path):
    documents = helm.template(*MODES["B"])
    assert settings_of(documents, tmp_path).namespaces == ("a", "b")
    cluster = rules(one(documents, "ClusterRole", "fusionrun"))
    assert cluster.pop(("", "namespaces")) == {"list", "watch"}
    roles = [d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == "fusionrun"]
    assert [r["metadata"]["namespace"] for r in roles] == ["a", "b"]
    assert rules(roles[0]) == rules(roles[1])
    everywhere = rules(one(helm.template(), "ClusterRole", "fusionrun"))
    assert {**rules(roles[0]), **cluster} == everywhere
    bindings = [d for d in documents if d["kind"] == "RoleBinding"]
    assert all(b["subjects"][0]["namespace"] == "fusionrun-system" for b in bindings)


def test_without_cluster_scoped_rights_only_the_crd_is_cluster_scoped(helm):
    namespaced = [d for d in helm.template(*MODES["C"], "crds.enabled=false") if "namespace" not in d["metadata"]]
    assert namespaced == []
    ours = [d for d in helm.template(*MODES["C"]) if d["kind"] in ("Role", "RoleBinding")]
    assert ours == [d for d in helm.template(*MODES["B"]) if d["kind"] in ("Role", "RoleBinding")]


@pytest.mark.parametrize(
    ("sets", "field"),
    [((), "watchNamespaces"), (('watchNamespaces=["a"]', "policy.checkNodes=true"), "policy.checkNodes")],
)
def test_what_needs_a_cluster_role_is_refused_without_one(helm, sets, field):
    assert field in helm.rejects("rbac.clusterScoped=false", *sets)


def test_nodes_may_be_listed_only_to_compare_pods_with_them(helm, tmp_path):
    documents = helm.template("policy.checkNodes=true", "policy.maxGpusPerPod=16")
    policy = settings_of(documents, tmp_path).policy
    assert (policy.check_nodes, policy.max_gpus_per_pod) == (True, 16)
    assert rules(one(documents, "ClusterRole", "fusionrun"))["", "nodes"] == {"list"}


def test_user_roles_are_aggregated(helm):
    documents = helm.template()
    view, edit = (one(documents, "ClusterRole", f"fusionrun-{n}") for n in ("view", "edit"))
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert "create" not in rules(view)["fusionrun.dev", "fusionruns"]
    assert "create" in rules(edit)["fusionrun.dev", "fusionruns"]
