"""Upgrades and rollbacks between a release and this checkout during a run (``make test-upgrade``)."""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.live import OPERATOR_NAMESPACE, REPOSITORY, Cluster, audit_log, condition, creates, small_run

pytestmark = pytest.mark.cluster
IS_LOCAL = os.environ.get("CLUSTER", "local") == "local"
BEGUN = ("Running", "Ready", "Succeeded", "Skipped", "Failed")
UPGRADE, ROLLBACK = "upgrade", "rollback"
RELEASE, PRESENT = "release", "present"


@dataclass(frozen=True)
class Operators:
    """The two operators: their source trees and image references, prepared by hack/test/upgrade."""

    folder: Path

    def tree(self, side: str) -> Path:
        return self.folder / "release" if side == RELEASE else REPOSITORY

    def image(self, side: str) -> str:
        return json.loads((self.folder / f"{side}-cache" / "images" / "refs.json").read_text())["operator"]

    def install(self, side: str) -> None:
        """Install or upgrade to an operator with its chart and images."""
        environment = os.environ | {"FUSIONRUN_CACHE": str(self.folder / f"{side}-cache")}
        subprocess.run([self.tree(side) / "hack" / "demo" / "install"], env=environment, check=True)

    def roll_back(self) -> None:
        """Roll back to the previous operator with ``helm rollback``."""
        command = ["helm", "rollback", "fusionrun", "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "3m"]
        subprocess.run(command, check=True, capture_output=True)

    def running_image(self) -> str:
        """Return the image of the running operator."""
        deployment = Cluster(OPERATOR_NAMESPACE).get("deployment", "fusionrun")
        return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


@dataclass
class Watched:
    """Observations of a run until it is finished."""

    run: dict = field(default_factory=dict)
    uids: dict[str, set[str]] = field(default_factory=dict)
    """UIDs of the workloads by stage."""
    switches: list[str] = field(default_factory=list)
    """The images of the running operators, in order."""


@pytest.fixture(scope="module")
def operators() -> Iterator[Operators]:
    assert os.environ.get("FUSIONRUN_UPGRADE"), "run make test-upgrade"
    found = Operators(Path(os.environ["FUSIONRUN_UPGRADE"]))
    yield found
    found.install(PRESENT)


def until_finished(cluster: Cluster, name: str) -> Iterator[dict]:
    """Yield a run at each change until it is finished. A changed CRD ends a watch, which is then restarted."""
    while True:
        for run in cluster.watch(name):
            yield run
            if condition(run, "Finished") == "True":
                return


TURNS = {
    "upgrade, rollback, upgrade": (RELEASE, [PRESENT, ROLLBACK, PRESENT]),
    "rollback, upgrade": (PRESENT, [RELEASE, PRESENT]),
}
"""The operator that accepts the run, and the changes when the first generate stage, SFT and DPO are running.

If an operator is too old for the run, the next change follows immediately.
"""
POINTS = ("generate/", "sft", "dpo")


@pytest.fixture(scope="module", params=TURNS.values(), ids=TURNS)
def watched(request, operators: Operators) -> Watched:
    """Follow a run and change the operator at each of the points."""
    first, turns = request.param
    cluster = Cluster("fusionrun-test")
    operators.install(first)
    manifest = small_run(f"skew-{int(time.time())}", prompts=60, measured=30, tree=operators.tree(first))
    manifest["spec"]["construction"]["seed"] = int(time.time())  # new digests, so no artifact is reused
    name = manifest["metadata"]["name"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    found = Watched(switches=[operators.running_image()])
    left = list(zip(POINTS, turns, strict=False))
    for found.run in until_finished(cluster, name):
        begun = [s["name"] for s in found.run.get("status", {}).get("stages", []) if s["state"] in BEGUN]
        waits = condition(found.run, "Ready", "reason") == "OperatorTooOld"
        if left and (waits or any(stage.startswith(left[0][0]) for stage in begun)):
            _, turn = left.pop(0)
            operators.roll_back() if turn == ROLLBACK else operators.install(turn)
            found.switches.append(operators.running_image())
        for kind in ("jobs", "pytorchjobs", "deployments"):
            for item in cluster.get(kind, "-l", f"fusionrun.dev/run={name}")["items"]:
                stage = item["metadata"]["labels"]["fusionrun.dev/stage"]
                found.uids.setdefault(stage, set()).add(item["metadata"]["uid"])
    assert not left, f"the run ended before {left[0][0]} was running"
    return found


def test_the_operator_was_changed_as_planned(operators, watched, request):
    first, turns = TURNS[request.node.callspec.id]
    sides = [first, *(RELEASE if turn == ROLLBACK else turn for turn in turns)]
    assert watched.switches == [operators.image(side) for side in sides]


def test_the_run_completes(watched):
    assert condition(watched.run, "Complete") == "True", watched.run["status"]["conditions"]


def test_no_stage_is_retried(watched):
    assert [s["name"] for s in watched.run["status"]["stages"] if s.get("attempt")] == []


def test_no_workload_is_created_twice(watched):
    assert len(watched.uids) > 10
    assert {stage: uids for stage, uids in watched.uids.items() if len(uids) > 1} == {}


@pytest.mark.skipif(not IS_LOCAL, reason="needs the audit log of the local cluster")
def test_the_api_server_created_no_workload_twice(watched):
    created = Counter(n for n, _ in creates(audit_log(), "fusionrun-test", watched.run["metadata"]["name"]))
    assert len(created) >= len(watched.uids)
    assert {name: times for name, times in created.items() if times > 1} == {}
