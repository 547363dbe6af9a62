"""The objects of a run as an API server returns them, with the fields that the server and controllers add."""

import copy
import uuid
from pathlib import Path
from typing import Any

import yaml

from support.world import World

Manifest = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
OWNERS = {"Job", "PyTorchJob", "Deployment"}


def sample_run(name: str, sample: str = "llama-3-1-8b") -> Manifest:
    """Return a sample as a FusionRun in the cluster."""
    run: Manifest = yaml.safe_load((REPOSITORY / "manifests" / "samples" / f"{sample}.yaml").read_text())
    metadata = {"name": name, "namespace": "lab", "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), "generation": 1}
    return {**run, "metadata": metadata}


def finished(run: Manifest) -> list[Manifest]:
    """Complete a run, and return it and its children as the API server returns them."""
    world = World(run)
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    return served(world)


def served(world: World) -> list[Manifest]:
    """Return the run of a world and its children with the fields that an API server and controllers add."""
    uids = {ref.name: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ref.kind}/{ref.name}")) for ref in world.objects}
    workloads = {ref.name: o for ref, o in world.objects.items() if ref.kind in OWNERS}
    found = [_common(world.run, 1, world.run["metadata"]["uid"])]
    for version, (ref, manifest) in enumerate(world.objects.items(), start=2):
        uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ref.kind}/{ref.name}"))
        one = _common(manifest, version, uid)
        if ref.kind == "Pod":
            owner = next(w for name, w in workloads.items() if ref.name.startswith(f"{name}-"))
            _as_pod(one, owner, uids[owner["metadata"]["name"]])
        found.append(one)
    return found


def _common(manifest: Manifest, version: int, uid: str) -> Manifest:
    """Return a deep copy that shares no string with another object, like one parsed from a reply."""
    one: Manifest = _unshared(copy.deepcopy(manifest))
    one["metadata"] |= {
        "uid": uid,
        "resourceVersion": str(1_000_000 + version),
        "creationTimestamp": one["metadata"].get("creationTimestamp", "2026-01-02T03:04:05Z"),
        "managedFields": [_managed_by(one, manager) for manager in ("fusionrun-operator", "kube-controller-manager")],
    }
    return one


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {_unshared(k): _unshared(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_unshared(v) for v in value]
    return "".join(list(value)) if isinstance(value, str) else value


def _managed_by(manifest: Manifest, manager: str) -> Manifest:
    def fields(value: Any) -> Manifest:
        return {f"f:{k}": fields(v) for k, v in value.items()} if isinstance(value, dict) else {}

    parts = {k: v for k, v in manifest.items() if k in ("metadata", "spec", "status")}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": manifest["apiVersion"],
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields(parts),
    }


def _as_pod(pod: Manifest, owner: Manifest, uid: str) -> None:
    """Add the fields that the controller, admission plugins, scheduler and kubelet write to a pod."""
    name = owner["metadata"]["name"]
    templates = owner["spec"].get("pytorchReplicaSpecs")
    template = templates["Master"]["template"] if templates else owner["spec"]["template"]
    replica_set = owner["kind"] == "Deployment"
    pod["metadata"]["generateName"] = f"{name}-"
    pod["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "apps/v1" if replica_set else owner["apiVersion"],
            "kind": "ReplicaSet" if replica_set else owner["kind"],
            "name": f"{name}-5b8f6c" if replica_set else name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    pod["metadata"]["labels"] = {
        **pod["metadata"]["labels"],
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    spec = _unshared(copy.deepcopy(template["spec"]))
    pod["spec"] = spec | {
        "nodeName": "gpu-node-17.example.internal",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in ("not-ready", "unreachable")
        ],
    }
    main = spec["containers"][0]
    status = pod["status"]
    for container in status["containerStatuses"]:
        container.update({
            "name": main["name"],
            "image": main["image"],
            "imageID": f"{main['image']}@sha256:{'0' * 64}",
            "containerID": f"containerd://{'1' * 64}",
            "ready": False,
            "started": False,
            "restartCount": 0,
            "lastState": {},
            "volumeMounts": copy.deepcopy(main.get("volumeMounts", [])),
        })  # fmt: skip
        if terminated := container["state"].get("terminated"):
            terminated |= {
                "reason": "Completed",
                "startedAt": "2026-01-02T03:04:05Z",
                "finishedAt": "2026-01-02T04:04:05Z",
                "containerID": f"containerd://{'1' * 64}",
            }
    status |= {
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "reason": "PodCompleted",
            }
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "hostIP": "10.0.0.17",
        "hostIPs": [{"ip": "10.0.0.17"}],
        "podIP": "10.42.3.17",
        "podIPs": [{"ip": "10.42.3.17"}],
        "qosClass": "Burstable",
    }
