"""A complete FusionRun on a real cluster. The operator is killed in every stage."""

import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fusionrun.api.results.result import decode_result
from support.live import CACHE, OPERATOR_NAMESPACE, Cluster, audit_log, condition, creates, small_run

pytestmark = pytest.mark.cluster
DONE = ("Succeeded", "Skipped")
MEASURED = 60
"""Prompts per benchmark."""
IS_LOCAL = os.environ.get("CLUSTER", "local") == "local"
VOLUMES = CACHE / "cluster" / "volumes"
OPERATOR = ("-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=fusionrun")


def kill_operator(cluster: Cluster) -> int:
    """Kill the operator with SIGKILL if its process runs on this machine; return the number of processes.

    The pod is always deleted: the Deployment creates a new one without the kubelet's restart back-off. So is the Lease:
    the new pod acts at once. tests/integrations/test_two_operators.py lets one expire.
    """
    killed = 0
    for pod in cluster.get("pods", *OPERATOR)["items"] if IS_LOCAL else ():
        for process in operator_processes(pod["metadata"]["uid"]):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                killed += 1
    cluster.kubectl("delete", "pod", *OPERATOR, "--grace-period=0", "--force", "--wait=false")
    cluster.kubectl("delete", "lease", "-n", OPERATOR_NAMESPACE, "fusionrun-operator", "--ignore-not-found")
    return killed


def operator_processes(uid: str) -> list[int]:
    """Find the operator's process by the cgroup of its pod, without the pause process."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            in_pod = f"/pod{uid}/" in (process / "cgroup").read_text()
            if in_pod and b"-m\0fusionrun\0" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):  # it has exited
            continue
    return found


@pytest.fixture(scope="module")
def finished(cluster: Cluster) -> dict:
    """Run the tiny sample, kill the operator once in every stage, and return the finished object."""
    name = f"killed-{int(time.time())}"
    manifest = small_run(name, prompts=120, measured=MEASURED)
    manifest["spec"]["construction"]["seed"] = int(time.time())  # new digests, so no artifact is reused
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    killed: set[str] = set()
    kills: dict[datetime, int] = {}
    uids: dict[str, set[str]] = {}
    run: dict = {}
    for run in cluster.watch(name):
        stages = run.get("status", {}).get("stages", [])
        active = {s["name"] for s in stages if s["state"] in ("Running", "Ready")}
        if active - killed:
            kills[datetime.now(UTC)] = kill_operator(cluster)
            killed |= active
        for kind in ("jobs", "pytorchjobs", "deployments"):
            for item in cluster.get(kind, "-l", f"fusionrun.dev/run={name}")["items"]:
                uids.setdefault(item["metadata"]["labels"]["fusionrun.dev/stage"], set()).add(item["metadata"]["uid"])
    run["killed"], run["kills"], run["uids"] = killed, kills, uids
    return run


def test_a_run_whose_operator_is_killed_in_every_stage_completes(finished):
    assert condition(finished, "Complete") == "True", finished["status"]
    stages = finished["status"]["stages"]
    assert {s["name"] for s in stages if s["state"] not in DONE} == set()
    # The restarted operator may find that a stage has ended, so its status was never Running.
    killed = finished["killed"] | {s["name"] for s in stages if any(ran_at(s, moment) for moment in finished["kills"])}
    missed = {s["name"] for s in stages if s["state"] == "Succeeded"} - killed
    assert len(missed) <= 3, missed  # a short stage may pass between two kills


def ran_at(stage: dict, moment: datetime) -> bool:
    """Say whether a stage ran at a moment, to the second."""
    if "startTime" not in stage or "endTime" not in stage:
        return False
    start, end = (datetime.fromisoformat(stage[key]) for key in ("startTime", "endTime"))
    return start <= moment.replace(microsecond=0) <= end


@pytest.mark.skipif(not IS_LOCAL, reason="the operator runs on another machine")
def test_the_operator_was_killed_without_a_graceful_shutdown(finished):
    hit = sum(count > 0 for count in finished["kills"].values())
    assert hit > len(finished["kills"]) / 2  # the other kills came before the operator had started


@pytest.mark.skipif(not IS_LOCAL, reason="needs the audit log of the local cluster")
def test_the_api_server_created_no_workload_twice(cluster, finished):
    created = Counter(name for name, _ in creates(audit_log(), cluster.namespace, finished["metadata"]["name"]))
    assert len(created) >= len(finished["uids"]) > 0
    assert {name: times for name, times in created.items() if times > 1} == {}


def test_no_stage_was_repeated(finished):
    repeated = {stage: found for stage, found in finished["uids"].items() if len(found) > 1}
    assert repeated == {}
    assert [s["name"] for s in finished["status"]["stages"] if s.get("attempt")] == []


def test_the_data_set_and_the_scores_are_in_status(finished):
    status = finished["status"]
    assert status["dataset"]["sftRows"] > 50
    assert status["dataset"]["pairs"] > 0
    assert {r["benchmark"] for r in status["results"]} == {"mathematics", "coding", "instruction"}
    assert all("delta" in r for r in status["results"])


def test_dpo_learns_from_its_pairs(finished):
    stages = {s["name"]: s for s in finished["status"]["stages"]}
    assert stages["dpo"]["loss"] < 0.693  # ln 2 is the loss of a model without a preference
    assert stages["dpo"]["rewardAccuracy"] > 0.5


@pytest.mark.parametrize("model", ["sft", "final"])
def test_responses_of_a_trained_model_end_before_the_token_limit(cluster, finished, model):
    labels = f"fusionrun.dev/run={finished['metadata']['name']},fusionrun.dev/stage=generate.eval-{model}"
    (pod,) = (p for p in cluster.get("pods", "-l", labels)["items"] if p["status"]["phase"] == "Succeeded")
    made = decode_result(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]).values
    assert made.responses == 3 * MEASURED
    # A model that has not learned its end token truncates nearly all; of one that has, up to 2 of 180 were seen.
    assert made.truncated <= made.responses / 10


@pytest.mark.skipif(not IS_LOCAL, reason="reads the volume of the local cluster")
def test_the_logs_of_every_stage_are_on_the_claim(cluster, finished):
    digests = json.loads(cluster.get("configmap", f"{finished['metadata']['name']}-resolved")["data"]["digests.json"])
    ran = {s["name"] for s in finished["status"]["stages"] if s["state"] == "Succeeded"}
    for stage in ran & digests.keys():
        kind, digest = stage.split("/")[0], digests[stage]
        (folder,) = VOLUMES.glob(f"*/fusionrun/artifacts/{kind}/{digest}/logs")
        files, servers = ([path.name for path in place.glob("*.log")] for place in (folder, folder / "server"))
        assert files, stage
        assert len(servers) == (kind == "generate"), (stage, servers)
        assert all(path.stat().st_size for path in folder.rglob("*.log"))


def test_kubectl_wait_returns(cluster, finished):
    name = finished["metadata"]["name"]
    cluster.kubectl("wait", "--for=condition=Complete", f"fr/{name}", "--timeout=5s")


def test_kubectl_get_and_describe_show_the_progress(cluster, finished):
    name = finished["metadata"]["name"]
    row = cluster.kubectl("get", "fr", name)
    assert "PROGRESS" in row
    assert "Succeeded" in row
    described = cluster.kubectl("describe", "fr", name)
    assert "StageSucceeded" in described


def test_no_server_and_no_running_pod_is_left(cluster, finished):
    name = finished["metadata"]["name"]
    assert cluster.get("deployments", "-l", f"fusionrun.dev/run={name}")["items"] == []
    pods = cluster.get("pods", "-l", f"fusionrun.dev/run={name}")["items"]
    assert {p["status"]["phase"] for p in pods} <= {"Succeeded", "Failed"}


def test_a_second_run_of_the_same_recipe_reuses_all_artifacts(cluster, finished):
    again = small_run(f"{finished['metadata']['name']}-b", prompts=120, measured=MEASURED)
    again["spec"]["construction"]["seed"] = finished["spec"]["construction"]["seed"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(again))
    run = list(cluster.watch(again["metadata"]["name"]))[-1]
    assert condition(run, "Complete") == "True"
    hits = {s["name"] for s in run["status"]["stages"] if s.get("cacheHit")}
    assert {"sft", "dpo", "promote", "construct", "evaluate/final"} <= hits
    assert run["status"]["results"] == finished["status"]["results"]
