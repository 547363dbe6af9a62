"""Broken FusionRuns on a real cluster: the message names field, value and rule, and no server starts."""

import json
import os
from datetime import datetime

import pytest

from support.broken import Broken, broken
from support.live import Cluster, condition, wait_until_established

pytestmark = pytest.mark.cluster
PYTORCHJOB_CRD = "crd/pytorchjobs.kubeflow.org"


def apply(cluster: Cluster, case: Broken) -> str:
    """Create the run again under the name of its case, and return that name."""
    name = f"broken-{case.name}"[:46].rstrip("-")
    cluster.kubectl("delete", "fusionrun", name, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(case.run | {"metadata": {"name": name}}))
    return name


@pytest.mark.parametrize("case", broken("plan", "resolve"), ids=lambda b: b.name)
def test_bad_content_fails_the_run_before_a_server_starts(cluster, case):
    name = apply(cluster, case)
    run = list(cluster.watch(name))[-1]
    message = condition(run, "Failed", "message")
    assert condition(run, "Failed") == "True"
    assert [fragment for fragment in case.message if fragment not in message] == [], message
    for kind in ("deployments", "pytorchjobs"):
        assert cluster.get(kind, "-l", f"fusionrun.dev/run={name}")["items"] == []
    cluster.kubectl("delete", "fusionrun", name, "--wait=false")


def assert_waits(cluster: Cluster, case: Broken, capsys: pytest.CaptureFixture) -> None:
    name = apply(cluster, case)
    ready = '{.status.conditions[?(@.type=="Ready")].reason}'
    cluster.kubectl("wait", f"fr/{name}", f"--for=jsonpath={ready}={case.reason}", "--timeout=60s")
    run = cluster.get("fr", name)
    message = condition(run, "Ready", "message")
    assert [fragment for fragment in case.message if fragment not in message] == [], message
    assert condition(run, "Finished") == "False"
    reported = datetime.fromisoformat(condition(run, "Ready", "lastTransitionTime"))
    took = reported - datetime.fromisoformat(run["metadata"]["creationTimestamp"])
    with capsys.disabled():
        print(f"\n{case.name}: {case.reason} after {took.total_seconds():.0f} s")  # noqa: T201 (the log shows it)
    jobs = cluster.get("jobs", "-l", f"fusionrun.dev/run={name}")["items"]
    started = [job["metadata"]["labels"]["fusionrun.dev/stage"] for job in jobs]
    assert started == (["resolve"] if case.refused == "secret" else [])
    cluster.kubectl("delete", "fusionrun", name, "--wait=false")


@pytest.mark.parametrize("case", broken("secret"), ids=lambda b: b.name)
def test_a_missing_secret_is_reported_by_the_pod_of_resolve(cluster, case, capsys):
    assert_waits(cluster, case, capsys)


@pytest.mark.parametrize(
    "case", [b for b in broken("cluster") if b.name != "training-operator-missing"], ids=lambda b: b.name
)
def test_a_missing_cluster_object_is_waited_for_and_named(cluster, case, capsys):
    assert_waits(cluster, case, capsys)


@pytest.mark.skipif(os.environ.get("CLUSTER", "local") == "existing", reason="deletes the PyTorchJobs of other users")
def test_a_missing_training_operator_is_waited_for_and_named(cluster, capsys):
    (case,) = [b for b in broken("cluster") if b.name == "training-operator-missing"]
    definition = cluster.get(PYTORCHJOB_CRD)
    definition = {k: definition[k] for k in ("apiVersion", "kind", "spec")} | {
        "metadata": {"name": definition["metadata"]["name"]}
    }
    cluster.kubectl("delete", PYTORCHJOB_CRD, "--wait")
    try:
        assert_waits(cluster, case, capsys)
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(definition))
        wait_until_established(definition)
