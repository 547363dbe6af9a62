"""The operator's sandbox pod on a real cluster: attacks are contained, and the next program runs."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionrun.api.sandbox import PROGRAMS_AT_ONCE
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun.api.tasks.task import StageTask
from fusionrun.objects.sandbox import build_sandbox_job
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Policy, Settings
from support.hostile import (
    BOMBS,
    DENIED,
    ENDED,
    FORBIDDEN,
    HARMLESS,
    LOOPHOLES,
    PACKAGES,
    RIGHT,
    STYLES,
    TESTS,
    UNKNOWN,
    denied_by,
    program_with_attack,
)
from support.live import Cluster, built_images
from support.routes import ROUTES, THIEF, VICTIM
from support.runs import UID, make_spec

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.environ.get("CLUSTER", "local") != "local", reason="needs the RuntimeClass isolated"),
]
LISTENER_PORT = 8000


def attacks(targets: list[tuple[str, str, int]]) -> dict[str, tuple[tuple[Any, ...], str, str]]:
    """Return each case by name, with its expected verdict and a part of its expected detail."""
    connect = "__import__('socket').create_connection(({host!r}, {port}), 2)"
    reached = [(f"connect to {h}:{p}", connect.format(host=h, port=p), FORBIDDEN) for _, h, p in targets]
    found: dict[str, tuple[tuple[Any, ...], str, str]] = {}
    for name, program, tests, entry_point in STYLES:
        found[f"passes: {name}"] = (program, tests, entry_point, True), RIGHT, ""
    for name, program, verdict in LOOPHOLES:
        found[f"loophole: {name}"] = (program, TESTS, None, verdict is not UNKNOWN), verdict, ""
    for route in ROUTES:
        patient = route.verdict is not UNKNOWN
        found[f"route: {route.name}"] = (route.program, route.tests, route.entry_point, patient), route.verdict, ""
    for number in range(4):
        found[f"victim {number}"] = (VICTIM, ["assert f(2) == 20"], None, True), RIGHT, ""
        found[f"thief {number}"] = (THIEF, ["assert f() == False"], None, True), RIGHT, ""
    for name, expression, by in [*DENIED, *reached]:
        found[f"denied: {name}"] = (program_with_attack(expression), [denied_by(by)], None, True), RIGHT, ""
    for name, program, verdict, detail in ENDED:
        found[f"ended: {name}"] = (program, ["assert f() == 1"], None, verdict is not UNKNOWN), verdict, detail
    return found


def neighbours() -> list[tuple[str, str, str]]:
    """Return bombs, each followed by right programs that need the same resource: name, program and test."""
    found = []
    for number, bomb in enumerate(BOMBS):
        found.append(("bomb", bomb, "assert f() == 1"))
        found += [(name, f"{program}# {number}", test) for name, program, test in HARMLESS]
    return found


@pytest.fixture(scope="module")
def listener(cluster: Cluster) -> Iterator[list[tuple[str, str, int]]]:
    """Start a pod with a server; return the targets of a hostile program: this pod, the node, the API server."""
    name = "listener"
    cluster.kubectl("delete", "pod", name, "--ignore-not-found", "--wait")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": built_images().sandbox,
                    "command": ["python", "-m", "http.server", str(LISTENER_PORT), "--directory", "/opt"],
                    "readinessProbe": {"tcpSocket": {"port": LISTENER_PORT}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    status = cluster.get("pod", name)["status"]
    api = cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    yield [("tcp", status["podIP"], LISTENER_PORT), ("tcp", status["hostIP"], 10250), ("tcp", api, 443)]
    cluster.kubectl("delete", "pod", name, "--wait=false")


def run_in_sandbox(cluster: Cluster, name: str, targets: list, *, isolated: bool) -> list[dict[str, Any]]:
    """Run ``judge_attacks.py`` in the judge container of a verify Job; return the lines of its report."""
    spec = make_spec(scheduling={"sandboxRuntimeClassName": "isolated" if isolated else None})
    run = Run(cluster.namespace, name, UID, FusionRunSpec.model_validate(spec))
    stage = Stage(StageKind.VERIFY, Source(name="ada"), Grader.CODING)
    parameters = VerifyParameters(
        grader=Grader.CODING,
        datasets=["code"],
        source="ada",
        shards=1,
        prompts_dir="/data/inputs/none/prompts",
        responses_dir="/data/inputs/none/responses",
    )
    task = StageTask(
        run=name,
        namespace=cluster.namespace,
        stage=stage.name,
        digest="0" * 16,
        output_dir="/data/fusionrun/artifacts/verify/attacks",
        shards=1,
        parameters=parameters,
    )
    settings = Settings(images=built_images(), policy=Policy(isolating_runtime_classes=("isolated",)))
    job = build_sandbox_job(run, stage, name, 0, settings, task)
    del job["metadata"]["ownerReferences"]
    job["spec"]["backoffLimit"] = 0
    (judge,) = job["spec"]["template"]["spec"]["containers"]
    judge["command"] = ["python", "/etc/fusionrun/judge_attacks.py", "/etc/fusionrun/cases.json"]
    cases = {
        "targets": targets,
        "packages": PACKAGES,
        "cases": [[n, *case] for n, (case, _, _) in attacks(targets).items()],
        "together": neighbours(),
    }
    files = {
        "judge_attacks.py": (Path(__file__).parent / "judge_attacks.py").read_text(),
        "cases.json": json.dumps(cases),
    }
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}
    cluster.kubectl("delete", f"job/{name}", f"configmap/{name}", "--ignore-not-found", "--wait")
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [config_map, job]})
    )
    cluster.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=10m")
    lines = cluster.kubectl("logs", f"job/{name}", "-c", "judge").splitlines()
    cluster.kubectl("delete", f"job/{name}", f"configmap/{name}", "--wait=false")
    return [json.loads(line) for line in lines]


def test_more_than_forty_attacks_are_contained(cluster, listener):
    walls, found, *lines, end = run_in_sandbox(cluster, "attacks", listener, isolated=True)
    assert walls["walls"] == {"uid": 1000, "reached": [], "token": False, "routed": [], "writable": []}
    assert found == {"runtime_class": "isolated", "programs_at_once": PROGRAMS_AT_ONCE}
    assert end == {"done": True}
    packages = {one["package"]: one["verdict"] for one in lines if "package" in one}
    assert packages == {name: "right" for name, *_ in PACKAGES}
    graded, beside = [one for one in lines if "name" in one], [one for one in lines if "beside" in one]
    expected = attacks(listener)
    assert [line["name"] for line in graded] == list(expected)
    assert len([name for name in expected if not name.startswith("passes")]) >= 40
    surprises = []
    for line in graded:
        _, verdict, detail = expected[line["name"]]
        contained = line["verdict"] == verdict and detail in line["detail"]
        if line["name"].startswith("denied"):  # a program that exceeded its limits has not passed either
            contained |= line["verdict"] == "wrong" and line["detail"].startswith("ended: by SIGXFSZ")
        if not contained or line["after"] != "right":
            surprises.append(line)
    assert surprises == []
    innocents = [one for one in beside if one["beside"] != "bomb"]
    assert len(innocents) == len(BOMBS) * len(HARMLESS)
    assert [one for one in innocents if one["verdict"] == "wrong"] == []
    assert sum(one["verdict"] == "right" for one in innocents) >= 0.9 * len(innocents)
    assert "right" not in {one["verdict"] for one in beside if one["beside"] == "bomb"}


def test_in_a_pod_with_a_network_no_program_runs(cluster, listener):
    walls, refused, *rest = run_in_sandbox(cluster, "attacks-with-network", listener, isolated=False)
    assert len(walls["walls"]["reached"]) == len(listener)  # the targets of the other test are reachable
    assert "sandboxRuntimeClassName" in refused["refused"]
    assert rest == []
