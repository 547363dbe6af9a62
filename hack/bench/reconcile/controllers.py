"""Simulated controllers and kubelets: they write as many states of Jobs, Deployments and pods as the real ones do.

The states of a Job and its pod were counted in the audit log of a cluster with Kubernetes 1.34: a Job has five, a pod
that succeeds has six.
"""

import asyncio
import itertools
import zlib
from typing import Any

from api_server import ApiServer, Manifest, now
from kubelet import pod_status
from results import message_of_run

from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION
from fusionrun.names import LABEL_RUN, LABEL_STAGE

WORKLOADS = ("Job", "PyTorchJob", "Deployment")
STEP_SECONDS = 0.05
"""Between two states of an object that follow each other at once."""
JOB_SECONDS = 1.0
"""From the end of a pod to the next state of its Job. Source: Kubernetes, pkg/controller/job (SyncJobBatchPeriod)."""


class Controllers:
    """All controllers. ``script`` has the duration and the result of each stage (``shapes.Workload.script``)."""

    def __init__(self, server: ApiServer, script: dict[str, dict[str, Any]]) -> None:
        self._server = server
        self._script = script
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._addresses = itertools.count(1)
        server.observers.append(self._observe)

    def _observe(self, change: str, manifest: Manifest) -> None:
        if manifest["kind"] not in WORKLOADS:
            return
        uid = manifest["metadata"]["uid"]
        if change == "ADDED":
            self._tasks[uid] = asyncio.create_task(self._run(manifest))
        elif change == "DELETED":
            self._tasks.pop(uid).cancel()
            for pod in self._pods_of(manifest):
                self._tasks[pod["metadata"]["uid"]] = asyncio.create_task(self._end(pod))

    async def _run(self, workload: Manifest) -> None:
        script = self._script[workload["metadata"]["labels"][LABEL_STAGE].replace(".", "/", 1)]
        await asyncio.sleep(STEP_SECONDS)
        pods = [self._create_pod(workload, template, index) for index, template in _templates(workload)]
        count, started = len(pods), now()
        status: Manifest = {"startTime": started, "active": count, "ready": 0}
        self._set(workload, {} if workload["kind"] == "Deployment" else status)
        for pod in pods:
            self._set(pod, {"conditions": [_condition("PodScheduled")]}, spec={"nodeName": "node-1"})
        await asyncio.sleep(STEP_SECONDS)
        for pod in pods:
            number = next(self._addresses)
            self._set(pod, pod_status(pod, started, f"198.18.{number >> 8 & 255}.{number & 255}", ready=True))
        if workload["kind"] == "Deployment":
            self._set(workload, {"replicas": count, "updatedReplicas": count, "unavailableReplicas": count})
            await asyncio.sleep(script["start_seconds"])
            conditions = [_condition("Available"), _condition("Progressing")]
            self._set(workload, {"readyReplicas": count, "availableReplicas": count, "conditions": conditions})
            return
        self._set(workload, {"ready": count})
        await asyncio.sleep(script["work_seconds"])
        message = message_of_run(script["message"], workload["metadata"]["labels"][LABEL_RUN])
        for pod in pods:
            self._set(pod, pod_status(pod, started, "", message=message))
        if workload["kind"] == "Job":
            await asyncio.sleep(JOB_SECONDS)
        uids = [pod["metadata"]["uid"] for pod in pods]
        self._set(workload, {"active": 0, "ready": 0, "uncountedTerminatedPods": {"succeeded": uids}})
        await asyncio.sleep(STEP_SECONDS)
        for pod in pods:
            self._set(pod, {}, metadata={"finalizers": []})
        self._set(workload, {"succeeded": count, "uncountedTerminatedPods": {"succeeded": []}})
        conditions = [_condition(kind) for kind in ("SuccessCriteriaMet", "Complete", "Succeeded")]
        self._set(workload, {"completionTime": now(), "conditions": conditions})

    async def _end(self, pod: Manifest) -> None:
        self._set(pod, {}, metadata={"deletionTimestamp": now(), "deletionGracePeriodSeconds": 30})
        await asyncio.sleep(STEP_SECONDS)
        self._server.remove("Pod", _key(pod))

    def _create_pod(self, workload: Manifest, template: Manifest, index: int) -> Manifest:
        owner, name = workload["kind"], workload["metadata"]["name"]
        if owner == "Deployment":
            owner, name = "ReplicaSet", f"{name}-{zlib.crc32(name.encode()):08x}"
        reference = {
            "apiVersion": workload["apiVersion"],
            "kind": owner,
            "name": name,
            "uid": workload["metadata"]["uid"],
        }
        metadata = template.get("metadata", {}) | {"name": f"{name}-{index}"}
        metadata["namespace"] = workload["metadata"]["namespace"]
        metadata["annotations"] = metadata.get("annotations", {}) | {COMPLETION_INDEX_ANNOTATION: str(index)}
        metadata |= {"ownerReferences": [reference], "finalizers": ["batch.kubernetes.io/job-tracking"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        return self._server.create(pod | {"status": {"phase": "Pending"}})

    def _pods_of(self, workload: Manifest) -> list[Manifest]:
        uid = workload["metadata"]["uid"]
        pods = self._server.objects["Pod"].values()
        return [pod for pod in pods if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    def _set(self, manifest: Manifest, status: Manifest, **more: Manifest) -> None:
        self._server.update(manifest["kind"], _key(manifest), {"status": status, **more})


def _templates(workload: Manifest) -> list[tuple[int, Manifest]]:
    spec = workload["spec"]
    if workload["kind"] != "PyTorchJob":
        return [(n, spec["template"]) for n in range(spec.get("completions") or spec.get("replicas") or 1)]
    replicas = spec["pytorchReplicaSpecs"].values()
    return list(enumerate(each["template"] for each in replicas for _ in range(each.get("replicas", 1))))


def _condition(kind: str) -> Manifest:
    return {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": now()}


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]
