"""The namespace of the runs: networks, limits, Secrets for registries, and what the user may create."""

import re
from collections.abc import Iterator

from fusionrun.cli.checks.finding import Finding, Item, Level, Reader, useful
from fusionrun.cli.kubectl import KubectlError

POLICY_ENGINES = re.compile(
    r"calico|cilium|antrea|kube-router|weave|kube-network-policies|anetd|ovnkube|kindnet|azure-npm|romana",
    re.IGNORECASE,
)
"""DaemonSets of network plugins that enforce NetworkPolicies. Flannel alone does not."""

WANTED = (
    ("create", "customresourcedefinitions.apiextensions.k8s.io", False, "to install: ask an administrator"),
    ("create", "clusterroles.rbac.authorization.k8s.io", False, "to install: ask an administrator"),
    ("create", "namespaces", False, "to install: ask an administrator"),
    ("create", "fusionruns.fusionrun.dev", True, "to run: ask for the role edit in the namespace"),
    ("create", "secrets", True, "for tokens: ask for the role edit in the namespace"),
    ("create", "persistentvolumeclaims", True, "for the claim: ask for the role edit in the namespace"),
)
"""What an installation and a run need the right to do; whether in the namespace; and what to do without it."""


def network(reader: Reader, namespace: str) -> Iterator[Finding]:
    """Check for a plugin that enforces NetworkPolicies, and for policies that deny everything."""
    sets = reader.read("get", "daemonsets", "--all-namespaces")["items"]
    engines = sorted({each["metadata"]["name"] for each in sets if POLICY_ENGINES.search(each["metadata"]["name"])})
    advice = (
        "" if engines
        else "no known plugin: if NetworkPolicies are not enforced, coding and trustRemoteCode do not start"
    )  # fmt: skip
    yield Finding("NetworkPolicy engine", useful(is_met=bool(engines)), ", ".join(engines) or "not recognised", advice)
    policies = reader.read("get", "networkpolicies", "-n", namespace)["items"]
    denying = [each["metadata"]["name"] for each in policies if _denies(each["spec"])]
    advice = "policies add up, and the operator creates one for each run; rules of Calico and Cilium are not checked"
    yield Finding(f"default deny in {namespace}", Level.OK, ", ".join(denying) or "none", advice if denying else "")


def _denies(spec: Item) -> bool:
    """Return whether a policy selects all pods and allows nothing in a direction."""
    types = spec.get("policyTypes") or ["Ingress"]
    selects_all = not any((spec.get("podSelector") or {}).values())
    return selects_all and any(not spec.get(kind.lower()) for kind in types)


def namespace_rules(reader: Reader, namespace: str) -> Iterator[Finding]:
    """Check what the namespace enforces, and the Secrets for private registries."""
    try:
        labels = reader.read("get", "namespace", namespace)["metadata"].get("labels") or {}
    except KubectlError as error:
        is_absent = "not found" in str(error)
        advice = f"kubectl create namespace {namespace}" if is_absent else ""
        yield Finding(f"namespace {namespace}", Level.NOTE if is_absent else Level.UNKNOWN, str(error), advice)
        return
    standard = labels.get("pod-security.kubernetes.io/enforce") or "none"
    yield Finding("Pod Security Standard", Level.OK, standard, "all pods meet the restricted standard")
    quotas = reader.read("get", "resourcequotas", "-n", namespace)["items"]
    names = ", ".join(each["metadata"]["name"] for each in quotas)
    advice = "pods need requests and limits of everything that they limit (status: ObjectRefused)" if names else ""
    yield Finding(f"ResourceQuotas in {namespace}", useful(is_met=not names), names or "none", advice)
    account = reader.read("get", "serviceaccount", "default", "-n", namespace)
    secrets = ", ".join(each["name"] for each in account.get("imagePullSecrets") or [])
    advice = "a private registry also needs images.pullSecrets of the chart, and the Secret in each namespace of runs"
    yield Finding(f"pull secrets in {namespace}", Level.OK, secrets or "none in ServiceAccount default", advice)


def permissions(reader: Reader, namespace: str) -> Iterator[Finding]:
    """Check what the user may create."""
    for verb, resource, is_namespaced, advice in WANTED:
        try:
            answer = reader.text("auth", "can-i", verb, resource, *(["-n", namespace] if is_namespaced else []))
        except KubectlError:  # kubectl fails if the answer is no
            answer = "no"
        is_allowed = answer.strip().splitlines()[-1:] == ["yes"]
        place = f" in {namespace}" if is_namespaced else ""
        name = resource.split(".")[0]
        text = "yes" if is_allowed else "no"
        yield Finding(f"may {verb} {name}{place}", useful(is_met=is_allowed), text, "" if is_allowed else advice)
