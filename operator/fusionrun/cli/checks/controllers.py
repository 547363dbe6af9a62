"""Controllers that FusionRun uses if the cluster has them, and FusionRun itself."""

from collections.abc import Iterator

from fusionrun.cli.checks.finding import Finding, Item, Level, Reader, useful

KUEUE_API = ("v1beta2", "v1beta1")
"""Versions of Kueue's API that the operator uses, the preferred one first."""


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
    """Check whether FusionRun is installed."""
    has_crd = "fusionruns.fusionrun.dev" in _crds(reader)
    image = _image(reader, "fusionrun").strip()
    found = image or ("only the CRD" if has_crd else "not installed")
    yield Finding("FusionRun", Level.OK, found, "" if image else "install the chart: docs/operations.md")


def _crds(reader: Reader) -> dict[str, Item]:
    items = reader.read("get", "customresourcedefinitions")["items"]
    return {each["metadata"]["name"]: each for each in items}


def _image(reader: Reader, name: str) -> str:
    """Return the version of a controller from the image of its Deployment; empty if there is none."""
    label = f"app.kubernetes.io/name={name}"
    for each in reader.read("get", "deployments", "--all-namespaces", "-l", label)["items"]:
        image: str = each["spec"]["template"]["spec"]["containers"][0]["image"]
        return f"{image.rsplit('/', 1)[-1].split('@')[0]} "
    return ""
