"""The number of GPUs in the plan, which the budget limits, is the number that the pods request."""

import json
from typing import Any

import pytest

from fusionrun.api.tasks.task import decode_task
from support.golden import objects_of
from support.plans import pinned_of
from support.pod_security import containers, pod_specs
from support.runs import make_spec

GPU = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}


def spec_with_gpus() -> dict[str, Any]:
    ada, bob = make_spec()["sources"]
    ada["served"] |= {"resources": GPU, "replicas": 3}
    spec = make_spec(sources=[ada, bob], training={"nodes": 2, "resources": GPU})
    spec["rewardModel"]["resources"] = GPU
    spec["evaluation"]["server"] = {"resources": GPU}
    spec["scheduling"] = {"gpuRuntimeClassName": "nvidia", "sandboxRuntimeClassName": "isolated"}
    return spec


PINNED = pinned_of("tiny", spec_with_gpus())


def gpus_of_a_pod(pod: dict[str, Any]) -> int:
    return sum(int(c["resources"].get("limits", {}).get("nvidia.com/gpu", 0)) for c in containers(pod))


def gpus_of(manifest: dict[str, Any]) -> int:
    """Count the GPUs of all pods that an object may have at once."""
    spec = manifest["spec"]
    if manifest["kind"] == "PyTorchJob":
        counted = [(r["replicas"], r["template"]) for r in spec["pytorchReplicaSpecs"].values()]
    else:
        counted = [(spec.get("replicas", spec.get("parallelism", 1)), spec["template"])]
    return sum(pods * gpus_of_a_pod(template["spec"]) for pods, template in counted)


@pytest.mark.parametrize("stage", PINNED.plan.stages, ids=lambda s: s.name)
def test_the_plan_the_pods_and_the_task_of_a_stage_have_the_same_gpus(stage):
    objects = objects_of(PINNED, [stage])
    assert gpus_of(objects[-1]) == stage.gpus
    tasks = [text for m in objects if m["kind"] == "ConfigMap" for text in m["data"].values()]
    for _, pod in (found for m in objects for found in pod_specs(m)):
        gpus = gpus_of_a_pod(pod)
        assert (pod.get("runtimeClassName") == "nvidia") == (gpus > 0)
        for task in tasks:
            assert decode_task(task).gpus == gpus
            assert ("gpus" in json.loads(task)) == (gpus > 0), "an older image cannot read the field"
