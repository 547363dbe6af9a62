"""The objects of each training backend, and what all of them share."""

import re
from typing import Any

import pytest

from fusionrun import names
from fusionrun.api.tasks.task import decode_task
from fusionrun.objects.render import render
from fusionrun.objects.templates import pod_templates
from support.golden import SETTINGS
from support.plans import pinned_of
from support.pod_security import violations
from support.runs import make_spec

BACKENDS = ["PyTorchJob", "Job", "TrainJob"]
INDEX = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}


def objects(backend: str, attempt: int = 0, name: str = "tiny", **training: Any) -> dict[str, dict[str, Any]]:
    spec = make_spec(training={"nodes": 2, **training, "backend": backend}, scheduling={"cpuQueueName": "research"})
    pinned = pinned_of(name, spec)
    return {m["kind"]: m for m in render(pinned, pinned.plan["sft"], attempt, SETTINGS)}


def templates(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [t for m in found.values() for t in pod_templates(m)]


def variables(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the variables of the rendezvous."""
    (container,) = templates(found)[0]["spec"]["containers"]
    given = {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
    return {n: v for n, v in given.items() if re.match(r"PET_|MASTER_|RANK|WORLD_SIZE", n)}


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_runs_the_same_pods(backend, nodes, processes):
    found = objects(backend, nodes=nodes, processesPerNode=processes)
    *_, workload = found.values()
    name = workload["metadata"]["name"]
    assert workload["kind"] == backend
    assert workload["metadata"]["labels"][names.LABEL_QUEUE] == "research"
    (digest,) = workload["metadata"]["annotations"].values()
    assert decode_task(found["ConfigMap"]["data"]["task.json"]).stage == "sft"
    assert found["ConfigMap"]["metadata"]["name"] == name
    for template in templates(found):
        pod = template["spec"]
        (container,) = pod["containers"]
        launcher = "python" if processes == 1 else "torchrun"
        assert container["command"][-4:] == [launcher, "-m", "fusionrun_stages", "sft"]
        assert {"name": "FUSIONRUN_TASK_SHA256", "value": digest} in container["env"]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert pod["restartPolicy"] == "Never"
        assert violations(pod) == []
        labels = template["metadata"]["labels"]
        assert (labels[names.LABEL_STAGE], labels[names.LABEL_ATTEMPT]) == ("sft", "0")
        assert names.LABEL_QUEUE not in labels, "Kueue admits the workload"


def test_a_retry_has_other_objects():
    for backend in BACKENDS:
        first, again = ({m["metadata"]["name"] for m in objects(backend, n).values()} for n in (0, 1))
        assert all(name.endswith("-r1") or name in first for name in again), backend
        assert len(again - first) == 1, "all objects of an attempt have one name"


def test_an_indexed_job_finds_its_peers_by_a_headless_service():
    found = objects("Job")
    name = found["Job"]["metadata"]["name"]
    spec = found["Job"]["spec"]
    assert {k: spec[k] for k in spec if k != "template"} == {
        "completionMode": "Indexed",
        "completions": 2,
        "parallelism": 2,
        "backoffLimit": 0,
    }
    assert spec["template"]["spec"]["subdomain"] == name == found["Service"]["metadata"]["name"]
    service = found["Service"]["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    host = f"{name}-0.{name}"
    assert variables(found) == {"WORLD_SIZE": "2", "RANK": INDEX, "MASTER_ADDR": host, "MASTER_PORT": "29500"}
    several = objects("Job", processesPerNode=4)
    name = several["Job"]["metadata"]["name"]
    assert variables(several) == {
        "PET_NPROC_PER_NODE": "4",
        "PET_NNODES": "2",
        "PET_NODE_RANK": INDEX,
        "PET_MASTER_ADDR": f"{name}-0.{name}",
        "PET_MASTER_PORT": "29500",
    }


def test_one_pod_needs_neither_a_service_nor_an_address():
    found = objects("Job", nodes=1)
    assert "Service" not in found
    assert variables(found) == {}
    assert variables(objects("TrainJob", nodes=1, processesPerNode=8)) == {"PET_NPROC_PER_NODE": "8"}


def test_a_trainjob_has_a_runtime_of_its_own_that_is_created_first():
    found = objects("TrainJob")
    *_, runtime, job = found.values()
    assert (runtime["kind"], job["kind"]) == ("TrainingRuntime", "TrainJob")
    name = job["metadata"]["name"]
    ref = {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name}
    assert job["spec"] == {"runtimeRef": ref}
    assert runtime["metadata"]["name"] == name
    assert runtime["spec"]["mlPolicy"] == {"numNodes": 2}
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["template"]["spec"]["backoffLimit"] == 0
    (template,) = pod_templates(runtime)
    assert [c["name"] for c in template["spec"]["containers"]] == [replicated["name"]] == ["node"]
    assert variables(found)["MASTER_ADDR"] == f"{name}-node-0-0.{name}"


def test_the_pod_names_of_a_trainjob_are_not_too_long():
    found = objects("TrainJob", attempt=12, name="a-run-with-a-name-that-is-much-too-long-for-anything", nodes=256)
    assert len(f"{found['TrainJob']['metadata']['name']}-node-0-255-abcde") <= 63


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("gang", "group", "scheduler", "member"),
    [
        (
            {"scheduler": "Coscheduling"},
            "scheduling.x-k8s.io/v1alpha1",
            "scheduler-plugins-scheduler",
            ("labels", "scheduling.x-k8s.io/pod-group"),
        ),
        (
            {"scheduler": "Volcano", "schedulerName": "my-volcano"},
            "scheduling.volcano.sh/v1beta1",
            "my-volcano",
            ("annotations", "scheduling.k8s.io/group-name"),
        ),
    ],
    ids=lambda value: value["scheduler"] if isinstance(value, dict) else "",
)
def test_a_gang_is_a_pod_group_of_all_pods_of_an_attempt(backend, gang, group, scheduler, member):
    found = objects(backend, attempt=1, gang=gang)
    *_, workload = found.values()
    name = workload["metadata"]["name"]
    assert (found["PodGroup"]["apiVersion"], found["PodGroup"]["metadata"]["name"]) == (group, name)
    assert found["PodGroup"]["spec"] == {"minMember": 2}
    for template in templates(found):
        assert template["spec"]["schedulerName"] == scheduler
        assert template["metadata"][member[0]][member[1]] == name
