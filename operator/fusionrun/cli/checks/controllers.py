"""Controllers that FusionRun uses if the cluster has them, and FusionRun itself."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from fusionrun.cli.checks.finding import Finding, Item, Level, Reader, useful
from fusionrun.cli.kubectl import KubectlError

KUEUE_API = ("v1beta2", "v1beta1")
"""Versions of Kueue's API that the operator uses, the preferred one first."""
OPERATOR = "app.kubernetes.io/name=fusionrun,app.kubernetes.io/component=operator"
"""Labels of the operator's Deployment. Those of model servers have the same name and another component."""
_SETTING = re.compile(r"^(lease_namespace|namespaces): *(.*)$", re.MULTILINE)
"""Settings as the chart writes them: the list of namespaces is JSON."""


class _Scope(NamedTuple):
    """The namespace of an operator's Lease, empty if it has none (0.2.0), and the namespaces that it watches."""

    lease_namespace: str
    watched: tuple[str, ...]
    """Empty if it watches all."""


def training(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check the backends of training."""
    crds = _crds(reader)
    found = ["PyTorchJob"] if "pytorchjobs.kubeflow.org" in crds else []
    if {"trainjobs.trainer.kubeflow.org", "jobsets.jobset.x-k8s.io"} <= crds.keys():
        found.append("TrainJob")
    used = found[0] if found else "Job, which needs nothing"
    yield Finding("training backends", Level.OK, ", ".join([*found, "Job"]), f"training.backend: Auto uses {used}")


def kueue(reader: Reader, namespace: str) -> Iterator[Finding]:
    """Check Kueue, the version of its API, and the queues of the namespace."""
    crd = _crds(reader).get("localqueues.kueue.x-k8s.io")
    if crd is None:
        yield Finding("Kueue", Level.OK, "none", "optional: leave out scheduling.queueName")
        return
    served = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
    usable = [version for version in KUEUE_API if version in served]
    advice = "" if usable else f"the operator uses {' and '.join(KUEUE_API)}"
    yield Finding("Kueue", useful(is_met=bool(usable)), f"{_image(reader, 'kueue')}serves {', '.join(served)}", advice)
    if usable:
        queues = reader.read("get", "localqueues.kueue.x-k8s.io", "-n", namespace)["items"]
        names = ", ".join(each["metadata"]["name"] for each in queues)
        advice = "set scheduling.queueName to one of them" if names else "optional: create one to queue runs"
        yield Finding(f"LocalQueues in {namespace}", Level.OK, names or "none", advice)


def prometheus(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check the CRDs of the Prometheus operator."""
    crds = _crds(reader)
    wanted = {"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
    found = [kind for kind, plural in wanted.items() if f"{plural}.monitoring.coreos.com" in crds]
    advice = (
        "set metrics.*.enabled and networkPolicy.monitoringNamespaces in the chart" if found
        else "optional: leave metrics.serviceMonitor, podMonitor and prometheusRule disabled"
    )  # fmt: skip
    yield Finding("Prometheus operator", Level.OK, ", ".join(found) or "none", advice)


def operator(reader: Reader, _namespace: str) -> Iterator[Finding]:
    """Check whether FusionRun is installed, and whether several operators act on the same runs."""
    has_crd = "fusionruns.fusionrun.dev" in _crds(reader)
    installed = _deployments(reader, OPERATOR)
    images = ", ".join(sorted({_version(each) for each in installed}))
    found = images or ("only the CRD" if has_crd else "not installed")
    yield Finding("FusionRun", Level.OK, found, "" if images else "install the chart: docs/operations.md")
    if len(installed) > 1:
        names = ", ".join(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in installed)
        advice = (
            "set operator.leaseNamespace to the same namespace in all of them, with the same watchNamespaces, or give "
            "each its own watchNamespaces; otherwise all act on the same runs"
        )
        is_met = not _act_together([_scope(reader, each) for each in installed])
        yield Finding("FusionRun operators", useful(is_met=is_met), names, "" if is_met else advice)


def _act_together(scopes: Sequence[_Scope | None]) -> bool:
    """Return whether two operators may act on one namespace: they watch it, and have different Leases.

    The Lease of an operator is that of its namespaces: operators with other lists have other Leases.
    """
    for one, other in combinations(scopes, 2):
        if one is None or other is None:
            return True
        overlap = not one.watched or not other.watched or not set(one.watched).isdisjoint(other.watched)
        if overlap and (one != other or not one.lease_namespace):
            return True
    return False


def _scope(reader: Reader, deployment: Item) -> _Scope | None:
    """Return what the settings of an operator say; None if they cannot be read."""
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or []
    name = next((each["configMap"]["name"] for each in volumes if "configMap" in each), "")
    try:
        found = reader.read("get", "configmap", name, "-n", deployment["metadata"]["namespace"])
        settings = dict(_SETTING.findall(found["data"]["settings.yaml"]))
        return _Scope(settings.get("lease_namespace", ""), tuple(sorted(json.loads(settings["namespaces"]))))
    except (KubectlError, KeyError, ValueError):
        return None


def _crds(reader: Reader) -> dict[str, Item]:
    items = reader.read("get", "customresourcedefinitions")["items"]
    return {each["metadata"]["name"]: each for each in items}


def _deployments(reader: Reader, labels: str) -> list[Item]:
    items: list[Item] = reader.read("get", "deployments", "--all-namespaces", "-l", labels)["items"]
    return items


def _image(reader: Reader, name: str) -> str:
    """Return the version of a controller, and a space; empty if there is none."""
    return next((f"{_version(each)} " for each in _deployments(reader, f"app.kubernetes.io/name={name}")), "")


def _version(deployment: Item) -> str:
    """Return the version of a controller from the image of its Deployment."""
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rsplit("/", 1)[-1].split("@")[0]
