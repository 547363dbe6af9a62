"""Measure the CPU time that the API server needs for a write of a run's status.

``make bench-status``, or ``python hack/bench/status`` with the programs of the local cluster in PATH.
Each way of writing is measured with the CRD as it is, without its rules in CEL, and without a schema. Etcd and the API
server are processes of the measurement (scale/control_plane.py); docs/benchmarks.md has the figures.
"""

import argparse
import copy
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import yaml

sys.path.append(str(Path(__file__).parents[1] / "scale"))
import fixtures
from control_plane import ADMIN, ControlPlane

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.names import API_VERSION, FIELD_MANAGER, GROUP, KIND, PLURAL, VERSION
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill

MANIFESTS = Path(__file__).parents[3] / "manifests"
NAMESPACE, NAME = "default", "tiny"
Manifest = dict[str, Any]
Write = Callable[[Manifest], Manifest]


def main() -> None:
    parser = argparse.ArgumentParser(
        "bench-status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writes", type=int, default=300, help="number of writes of each kind (default: 300)")
    writes = parser.parse_args().writes
    spec = yaml.safe_load((MANIFESTS / "samples" / "tiny.yaml").read_text())["spec"]
    crd = yaml.safe_load((MANIFESTS / "crd.yaml").read_text())
    schemas = {"the CRD": crd, "without rules in CEL": without_rules(crd), "without a schema": without_schema(crd)}
    with tempfile.TemporaryDirectory() as folder, ControlPlane(Path(folder)) as plane:
        os.environ["KUBECONFIG"] = str(plane.kubeconfig(ADMIN))
        kubernetes.config.load_kube_config(os.environ["KUBECONFIG"])
        print("| CPU time of the API server per write | apply | replace | merge patch |\n| --- | ---: | ---: | ---: |")
        for label, schema in schemas.items():
            install(schema)
            times = [cpu_seconds(plane, write, spec, writes) / writes for write in (apply, replace, merge)]
            print(f"| {label} | " + " | ".join(f"{1000 * seconds:.1f} ms" for seconds in times) + " |", flush=True)


def without_rules(value: Any) -> Any:
    """Return a CRD, or a part of one, without its rules in CEL."""
    if isinstance(value, dict):
        return {key: without_rules(below) for key, below in value.items() if key != "x-kubernetes-validations"}
    return [without_rules(item) for item in value] if isinstance(value, list) else value


def without_schema(crd: Manifest) -> Manifest:
    """Return a CRD that accepts every spec and status."""
    free = copy.deepcopy(crd)
    schema = free["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema["properties"] |= {"spec": anything, "status": anything}
    return free


def install(crd: Manifest) -> None:
    """Replace the CRD, and wait until the API server serves it."""
    fixtures.kubectl("delete", "crd", crd["metadata"]["name"], "--ignore-not-found")
    fixtures.kubectl("create", "-f", "-", stdin=json.dumps(crd))
    fixtures.wait_until_served(f"/apis/{API_VERSION}/namespaces/{{}}/{PLURAL}")


def cpu_seconds(plane: ControlPlane, write: Write, spec: Manifest, writes: int) -> float:
    """Return the CPU time in which the API server writes the status of a new run some times."""
    run = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": NAME}, "spec": spec}
    last = custom_objects("create_namespaced_custom_object", run)
    before = plane.cpu_seconds()["kube-apiserver"]
    for status in itertools.islice(statuses(spec), writes):
        last = write(last | {"status": status})
    after = plane.cpu_seconds()["kube-apiserver"]
    custom_objects("delete_namespaced_custom_object", name=NAME)
    return after - before


def statuses(spec: Manifest) -> Iterator[Manifest]:
    """Yield statuses of a run in the middle; each differs from the one before in the state of one stage."""
    names = [stage.name for stage in build_plan(fill(FusionRunSpec.model_validate(spec))).stages]
    time, text = "2026-01-02T03:04:05Z", "waits for another stage, whose pods run on nodes of the cluster"
    ended = {"reason": "Succeeded", "startTime": time, "endTime": time, "objectRef": f"Job/{NAME}-{'0' * 24}"}
    stages = [
        {"name": name, "state": "Succeeded", **ended}
        if 2 * at < len(names)
        else {"name": name, "state": "Pending", "message": text}
        for at, name in enumerate(names)
    ]
    for number in itertools.count():
        at = number % len(stages)
        changed = {**stages[at], "state": "Running", "reason": "PodsRunning"}
        yield {
            "observedGeneration": 1,
            "startTime": time,
            "progress": f"{number}/{len(names)}",
            "stages": [*stages[:at], changed, *stages[at + 1 :]],
        }


def apply(run: Manifest) -> Manifest:
    """Write the status by server-side apply, as the operator does."""
    metadata = {key: run["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    body = {key: run[key] for key in ("apiVersion", "kind", "status")} | {"metadata": metadata}
    return custom_objects(
        "patch_namespaced_custom_object_status", body, NAME, force=True, _content_type="application/apply-patch+yaml"
    )


def replace(run: Manifest) -> Manifest:
    return custom_objects("replace_namespaced_custom_object_status", run, NAME)


def merge(run: Manifest) -> Manifest:
    body = {"status": run["status"]}
    return custom_objects(
        "patch_namespaced_custom_object_status", body, NAME, _content_type="application/merge-patch+json"
    )


def custom_objects(call: str, body: Manifest | None = None, name: str | None = None, **options: Any) -> Manifest:
    """Send a request for a FusionRun."""
    named = {"name": name} if name else {}
    sent = {"body": body, "field_manager": FIELD_MANAGER} if body else {}
    method = getattr(kubernetes.client.CustomObjectsApi(), call)
    reply: Manifest = method(
        group=GROUP, version=VERSION, namespace=NAMESPACE, plural=PLURAL, **named, **sent, **options
    )
    return reply


if __name__ == "__main__":
    main()
