"""A run on a cluster that is at a chosen stage, an operator of this checkout, and pods that do nothing.

The simulated world (``support.world``) walks a run to the stage. Its status and its two ConfigMaps are then written to
the cluster, where the operator continues it. No stage before it is run, and no model is needed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from fusionrun.api.contract import Manifest
from fusionrun.settings import Images
from support.live import REPOSITORY, Cluster
from support.runs import make_run, make_spec
from support.world import SETTINGS, World

SECONDS = 60.0
"""Longest wait for a state. The message of a queued stage is read at most every minute."""
IMAGES = Images(
    **dict.fromkeys(("data", "serve", "train", "reward", "sandbox"), "fusionrun.local/stand-in:2"),
)
"""Images with one program that waits (hack/integrations/stand-in)."""
SMALL = {"cpu": "10m", "memory": "32Mi"}


def gpus(count: int) -> dict[str, Any]:
    """Return resources with GPUs, which a test adds to the capacity of the node."""
    return {"requests": SMALL, "limits": {"memory": "64Mi", "nvidia.com/gpu": count}}


def spec(gpus_per_stage: int = 1, **scheduling: Any) -> dict[str, Any]:
    """Return a spec whose servers and training request GPUs."""
    sources = make_spec()["sources"]
    for source in sources:
        source["served"] |= {"resources": gpus(gpus_per_stage), "tensorParallelSize": gpus_per_stage}
    training = {"nodes": 1, "processesPerNode": gpus_per_stage, "resources": gpus(gpus_per_stage)}
    return {
        "sources": sources,
        "training": training,
        "generation": {"shards": 1},
        "evaluation": make_spec()["evaluation"] | {"server": {"resources": {"requests": SMALL}}},
        "dataStages": {"resources": {"requests": SMALL}},
        "scheduling": scheduling,
    }


@dataclass(frozen=True)
class StandInRun:
    """A run on the cluster."""

    cluster: Cluster
    name: str

    def get(self) -> Manifest:
        """Return the run."""
        return self.cluster.get("fusionrun", self.name)

    def stage(self, name: str) -> dict[str, Any]:
        """Return the status of a stage."""
        stages = (self.get().get("status") or {}).get("stages") or []
        return next((s for s in stages if s["name"] == name), {})

    def ready(self) -> dict[str, Any]:
        """Return the condition Ready."""
        conditions = (self.get().get("status") or {}).get("conditions") or []
        return next((c for c in conditions if c["type"] == "Ready"), {})

    def wait_for(self, stage: str, reason: str, text: str = "", seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until a stage has a reason, and a message that contains a text; return its status."""
        found = until(
            lambda: self.stage(stage),
            lambda s: s.get("reason") == reason and text in s.get("message", ""),
            f"{stage}: {reason} {text}",
            seconds,
        )
        assert isinstance(found, dict)
        return found

    def events(self, reason: str) -> list[str]:
        """Return the messages of the run's events with a reason."""
        found = self.cluster.get("events", "--field-selector", f"reason={reason},involvedObject.name={self.name}")
        return [item["message"] for item in found["items"]]

    def succeed(self, stage: str) -> None:
        """Let the pod of a generation succeed (hack/integrations/stand-in)."""
        label = f"fusionrun.dev/run={self.name},fusionrun.dev/stage={stage.replace('/', '.')}"
        until(
            lambda: [p["status"].get("phase") for p in self.cluster.get("pods", "-l", label)["items"]],
            ["Running"].__eq__,
            f"a pod of {stage} runs",
        )
        self.cluster.kubectl("delete", "pods", "-l", label, "--wait=false")

    def object_of(self, stage: str) -> Manifest:
        """Return the Job, PyTorchJob or Deployment of a stage."""
        kind, _, name = self.stage(stage)["objectRef"].partition("/")
        return self.cluster.get(kind, name)


def until(get: Callable[[], Any], is_reached: Callable[[Any], bool], what: str, seconds: float = SECONDS) -> Any:
    """Return the first value that is as wanted; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not is_reached(found := get()):
        assert time.monotonic() < deadline, f"not reached: {what}; now: {found}"
        time.sleep(0.5)
    return found


def start(cluster: Cluster, name: str, stage: str | None = None, **fields: Any) -> StandInRun:
    """Create a run; with a stage, everything before it has succeeded."""
    manifest = make_run(name, **fields | {"suspend": stage is not None})
    del manifest["metadata"]["uid"], manifest["metadata"]["namespace"], manifest["metadata"]["generation"]
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    run = StandInRun(cluster, name)
    if stage is None:
        return run
    metadata = run.get()["metadata"]
    simulated = make_run(name, **fields)
    simulated["metadata"] |= {"uid": metadata["uid"], "generation": 1}
    # Without a queue, whose objects the world does not have.
    simulated["spec"]["scheduling"] = {}
    world = World(simulated, settings=replace(SETTINGS, images=IMAGES))
    world.run_until(stage)
    status = world.run["status"]
    until(run.ready, bool, "the operator has seen the run")
    for unfinished in (s for s in status["stages"] if s["state"] not in ("Succeeded", "Skipped")):
        kept = {"name": unfinished["name"], "state": "Pending"}
        unfinished.clear()
        unfinished.update(kept)
    # The status has the digests of the ConfigMaps, without which the operator would replace them.
    arguments = ["patch", "fusionrun", name, "--type", "merge", "-p"]
    cluster.kubectl(*arguments, json.dumps({"status": status}), "--subresource=status")
    for made in world.of_kind("ConfigMap"):
        if made["metadata"]["name"] in (f"{name}-spec", f"{name}-resolved"):
            made["metadata"]["namespace"] = cluster.namespace
            del made["metadata"]["creationTimestamp"]
            # The operator may have made the result of resolve again, from the pins in the status.
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(made))
    cluster.kubectl(*arguments, '{"spec": {"suspend": false}}')
    return run


@contextmanager
def operator(namespace: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the operator of this checkout for one namespace."""
    settings = {
        "images": asdict(IMAGES) | {"pull_secrets": []},
        "namespaces": [namespace],
        "progress_port": 18090,
        "metrics_port": 18000,
        "health_port": 18080,
        "default_requests": SMALL,
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "operator")}
    command = [sys.executable, "-m", "fusionrun", "--settings", str(folder / "settings.yaml"), "--log-format", "text"]
    with (folder / "operator.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)
