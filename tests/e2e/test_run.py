"""A whole FusionRun on a real cluster; the operator is killed in every stage of it."""

import json
import subprocess
import time

import pytest

from support.live import OPERATOR_NAMESPACE, Cluster, condition, small_run

pytestmark = pytest.mark.cluster
DONE = ("Succeeded", "Skipped")


def kill_operator() -> None:
    """Kill the operator's pod with SIGKILL: no grace, no goodbye."""
    subprocess.run(
        ["kubectl", "-n", OPERATOR_NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/name=fusionrun",
         "--grace-period=0", "--force", "--wait=false"],
        capture_output=True, check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(cluster: Cluster) -> dict:
    """Run the tiny world's run with the operator killed once in every stage; return the finished object."""
    name = f"killed-{int(time.time())}"
    manifest = small_run(name, prompts=120, measured=60)
    manifest["spec"]["construction"]["seed"] = int(time.time())  # its own artifacts: all the work is done anew
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    killed: set[str] = set()
    uids: dict[str, set[str]] = {}
    run: dict = {}
    for run in cluster.watch(name):
        stages = run.get("status", {}).get("stages", [])
        at_work = {s["name"] for s in stages if s["state"] in ("Running", "Ready")}
        if at_work - killed:
            kill_operator()
            killed |= at_work
        for kind in ("jobs", "pytorchjobs", "deployments"):
            for item in cluster.get(kind, "-l", f"fusionrun.dev/run={name}")["items"]:
                uids.setdefault(item["metadata"]["labels"]["fusionrun.dev/stage"], set()).add(item["metadata"]["uid"])
    run["killed"], run["uids"] = killed, uids
    return run


def test_a_run_whose_operator_is_killed_in_every_stage_completes(finished):
    assert condition(finished, "Complete") == "True", finished["status"]
    stages = finished["status"]["stages"]
    assert {s["name"] for s in stages if s["state"] not in DONE} == set()
    assert len(finished["killed"]) >= len(stages) - 3  # a stage of a second or two may pass between two kills


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
    assert stages["dpo"]["loss"] < 0.6932
    assert stages["dpo"]["rewardAccuracy"] > 0.5


def test_kubectl_wait_ends(cluster, finished):
    name = finished["metadata"]["name"]
    cluster.kubectl("wait", "--for=condition=Complete", f"fr/{name}", "--timeout=5s")


def test_kubectl_get_and_describe_read_well(cluster, finished):
    name = finished["metadata"]["name"]
    row = cluster.kubectl("get", "fr", name)
    assert "PROGRESS" in row
    assert "Succeeded" in row
    described = cluster.kubectl("describe", "fr", name)
    assert "StageSucceeded" in described


def test_no_server_and_no_pod_is_left_at_work(cluster, finished):
    name = finished["metadata"]["name"]
    assert cluster.get("deployments", "-l", f"fusionrun.dev/run={name}")["items"] == []
    pods = cluster.get("pods", "-l", f"fusionrun.dev/run={name}")["items"]
    assert {p["status"]["phase"] for p in pods} <= {"Succeeded", "Failed"}


def test_a_second_run_of_the_same_recipe_reuses_everything(cluster, finished):
    again = small_run(f"{finished['metadata']['name']}-b", prompts=120, measured=60)
    again["spec"]["construction"]["seed"] = finished["spec"]["construction"]["seed"]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(again))
    run = list(cluster.watch(again["metadata"]["name"]))[-1]
    assert condition(run, "Complete") == "True"
    hits = {s["name"] for s in run["status"]["stages"] if s.get("cacheHit")}
    assert {"sft", "dpo", "promote", "construct", "evaluate/final"} <= hits
    assert run["status"]["results"] == finished["status"]["results"]
