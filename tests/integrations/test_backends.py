"""Two pods train the tiny model with each backend; one of them is deleted, and the whole attempt starts again."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fusionrun.state.decide.attempts import NO_POD_LEFT
from support.live import REPOSITORY, Cluster, condition, small_run

pytestmark = pytest.mark.integrations
TRAINER = REPOSITORY / "hack" / "integrations" / "trainer"
KINDS = {"PyTorchJob": "pytorchjobs", "Job": "jobs", "TrainJob": "trainjobs"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return the namespace with the inputs of the tiny run; Kubeflow Trainer is installed."""
    subprocess.run([TRAINER / "install"], check=True)
    try:
        yield Cluster("fusionrun-test")
    finally:
        subprocess.run([TRAINER / "uninstall"], check=True)


def manifest(name: str, backend: str) -> dict[str, Any]:
    """Return a tiny run that ends with training. All runs share the data set, and each has its own model."""
    run = small_run(name, prompts=120, measured=20)
    spec = run["spec"]
    del spec["evaluation"], spec["publish"]
    # Enough steps that training still runs when its first checkpoint is seen.
    spec["training"] |= {"backend": backend, "seed": int(time.time())}
    spec["training"]["sft"] |= {"epochs": 40, "saveSteps": 5}
    return run


def stage(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next((s for s in run.get("status", {}).get("stages", []) if s["name"] == name), {})


def pods(cluster: Cluster, name: str, attempt: int) -> list[dict[str, Any]]:
    labels = f"fusionrun.dev/run={name},fusionrun.dev/stage=sft,fusionrun.dev/attempt={attempt}"
    found: list[dict[str, Any]] = cluster.get("pods", "-l", labels)["items"]
    return sorted(found, key=lambda pod: pod["metadata"]["name"])


def until_finished(cluster: Cluster, name: str) -> Iterator[dict[str, Any]]:
    """Yield the run at each change. The API server ends a watch when a CRD changes."""
    run: dict[str, Any] = {}
    while condition(run, "Finished") != "True":
        for run in cluster.watch(name):
            yield run


@pytest.mark.parametrize("backend", KINDS)
def test_a_deleted_pod_restarts_training_from_the_last_checkpoint(cluster, backend):
    name = f"{backend.lower()}-{int(time.time())}"
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest(name, backend)))
    deleted, run = False, {}
    for run in until_finished(cluster, name):
        sft = stage(run, "sft")
        if not deleted and sft.get("state") == "Running" and sft.get("progress", {}).get("done", 0) >= 10:
            cluster.kubectl("delete", "pod", pods(cluster, name, 0)[-1]["metadata"]["name"], "--wait=false")
            deleted = True
    assert deleted, run["status"]
    assert condition(run, "Complete") == "True", run["status"]
    assert run["status"]["trainingBackend"] == backend
    assert stage(run, "sft")["attempt"] == 1
    assert "attempt" not in stage(run, "dpo")
    assert pods(cluster, name, 0) == []
    again = [pod["metadata"]["name"] for pod in pods(cluster, name, 1)]
    assert again, "the training operator deletes a worker that still runs when the master has ended"
    for pod in again:
        assert re.search(r"training starts from \S*checkpoint-", cluster.kubectl("logs", pod)), pod
    events = cluster.kubectl("get", "events", "--field-selector", f"involvedObject.name={name},reason=StageRetried")
    # The controller may delete the other pod in the same second, or both before the operator sees the first deletion.
    assert re.search(rf"pod {name}-sft-\S+ was deleted", events) or NO_POD_LEFT in events
    assert "failures" not in stage(run, "sft"), "a deleted pod is not a failure of the stage"
    labels = f"fusionrun.dev/run={name},fusionrun.dev/stage=sft"
    *first, last = sorted(item["metadata"]["name"] for item in cluster.get(KINDS[backend], "-l", labels)["items"])
    assert last.endswith("-r1")
    assert not first or NO_POD_LEFT in events, "the first attempt was deleted as a whole, unless it had failed"
    cluster.kubectl("delete", "fusionrun", name)
