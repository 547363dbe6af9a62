"""The NetworkPolicies of a run and of the chart on a cluster that enforces them, with pods that only listen."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.api.pod import EXIT_USER_ERROR, METRICS_PORT
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.sources import Source
from fusionrun.api.stage import StageKind
from fusionrun.objects.deployment import PORT, build_deployment
from fusionrun.objects.network_policy import build_policy
from fusionrun.plan.families.responses import ServedModel
from fusionrun.plan.pinned import Feature, Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings
from support.chart import template
from support.live import Cluster, built_images
from support.runs import UID, make_spec

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        os.environ.get("CLUSTER", "local") != "local", reason="the cluster must enforce NetworkPolicies"
    ),
]

WATCHED, MONITORING, ELSEWHERE = (f"fusionrun-policies-{name}" for name in ("watched", "monitoring", "elsewhere"))
RENDEZVOUS_PORT = 23456
"""Port of the training pods. Source: kubeflow/training-operator, PyTorchJob, the default port."""
PROGRESS_PORT, OPERATOR_METRICS_PORT, HEALTH_PORT = 8090, 8000, 8080
SECONDS = 30.0
"""A policy may be enforced some time after its pods are Ready."""

SPEC = FusionRunSpec.model_validate(make_spec())
ALPHA = Run(WATCHED, "alpha", UID, SPEC, features=frozenset(Feature))

LISTEN = "import signal, socket, sys; s = [socket.create_server(('', int(p))) for p in sys.argv[1:]]; signal.pause()"
CONNECT = """
import concurrent.futures, json, socket, sys
def connects(target):
    try:
        socket.create_connection(tuple(target), 2).close()
    except OSError:
        return False
    return True
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(connects, json.loads(sys.argv[1])))))
"""
PROBE = "import json; from fusionrun_stages.sandbox.probe import find_reachable; print(json.dumps(find_reachable()))"


def pod(name: str, labels: dict[str, str], *ports: int) -> Manifest:
    """Return a pod that listens on some ports; it is Ready when the kubelet reaches the first one."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": built_images().data,
                    "command": ["python", "-c", LISTEN, *map(str, ports)],
                    "readinessProbe": {"tcpSocket": {"port": ports[0]}, "periodSeconds": 1},
                    "securityContext": context,
                }
            ],
        },
    }


def with_network_check(pod: Manifest, run: Run) -> Manifest:
    """Add the init container of a server that runs code of a model."""
    settings = Settings(images=built_images())
    stage = Stage(StageKind.SERVE, Source(name="ada"), remote_code=True)
    served = ServedModel("ada", "/data/ada", ServerSettings())
    server = build_deployment(run, stage, "ada", 0, settings, served)["spec"]["template"]["spec"]
    pod["spec"] |= {"restartPolicy": "Never", "initContainers": server["initContainers"]}
    pod["spec"]["volumes"] = [volume for volume in server["volumes"] if volume["name"] == "tmp"]
    return pod


def run_pods(run: Run) -> list[Manifest]:
    """Return one pod of each kind of a run, with the policies that the operator creates for them."""
    source = Source(name="ada")
    stages = {
        "server": Stage(StageKind.SERVE, source),
        "client": Stage(StageKind.GENERATE, source),
        "trainer": Stage(StageKind.SFT),
        "remote": Stage(StageKind.SERVE, source, remote_code=True),
        "sandbox": Stage(StageKind.VERIFY, source, Grader.CODING),
    }
    settings = Settings(images=built_images(), monitoring_namespaces=(MONITORING,))
    closed = {"remote": {names.LABEL_REMOTE_CODE: "true"}, "sandbox": {names.LABEL_SANDBOX: "true"}}
    policies = {}
    for stage in stages.values():
        policy = build_policy(run, stage, PORT, settings)
        del policy["metadata"]["ownerReferences"]
        policies[policy["metadata"]["name"]] = policy
    labels = {names.LABEL_RUN: run.name}
    ports = (PORT, METRICS_PORT, RENDEZVOUS_PORT)
    pods = {name: pod(f"{run.name}-{name}", labels | closed.get(name, {}), *ports) for name in stages}
    with_network_check(pods["remote"], run)
    return [*policies.values(), *pods.values()]


def chart_policy(**labels: str) -> list[Manifest]:
    """Return the chart's NetworkPolicy for an operator that watches one namespace, and a pod with its labels."""
    command = template(ELSEWHERE, "-s", "templates/networkpolicy.yaml")
    command += ["--set", f"images.registry=r,watchNamespaces={{{WATCHED}}}"]
    command += ["--set", f"networkPolicy.monitoringNamespaces={{{MONITORING}}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    policy = yaml.safe_load(done.stdout)
    selected = policy["spec"]["podSelector"]["matchLabels"] | labels
    return [policy, pod("operator", selected, HEALTH_PORT, PROGRESS_PORT, OPERATOR_METRICS_PORT)]


class Places:
    """The namespaces of the test, and the addresses of their pods."""

    def __init__(self) -> None:
        self._in = {name: Cluster(name) for name in (WATCHED, MONITORING, ELSEWHERE)}
        self._namespace_of: dict[str, str] = {}
        self._address_of: dict[str, str] = {}

    def create(self) -> None:
        for name, cluster in self._in.items():
            cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait")
            cluster.kubectl("create", "namespace", name)
        self.apply(WATCHED, [*run_pods(ALPHA), pod("beta-server", {names.LABEL_RUN: "beta"}, PORT)])
        self.apply(WATCHED, [pod("neighbour", {}, PORT)])
        self.apply(MONITORING, [pod("prometheus", {}, PORT)])
        # The labels of a run do not help in another namespace.
        self.apply(ELSEWHERE, [pod("stranger", {names.LABEL_RUN: ALPHA.name}, PORT), *chart_policy()])
        for name, cluster in self._in.items():
            cluster.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=120s")
            for found in cluster.get("pods")["items"]:
                self._namespace_of[found["metadata"]["name"]] = name
                self._address_of[found["metadata"]["name"]] = found["status"]["podIP"]

    def delete(self) -> None:
        for name, cluster in self._in.items():
            cluster.kubectl("delete", "namespace", name, "--wait=false")

    def apply(self, namespace: str, items: list[Manifest]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self._in[namespace].kubectl("apply", "-f", "-", stdin=text)

    def execute(self, name: str, program: str, *arguments: str) -> Any:
        """Run a program in a pod, and return the JSON that it prints."""
        cluster = self._in[self._namespace_of[name]]
        return json.loads(cluster.kubectl("exec", name, "--", "python", "-c", program, *arguments))

    def reached(self, name: str, targets: list[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the targets, pod and port, to which a pod can connect."""
        found = self.execute(name, CONNECT, json.dumps([(self._address_of[pod], port) for pod, port in targets]))
        return {target for target, connects in zip(targets, found, strict=True) if connects}


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    found = Places()
    found.create()
    yield found
    found.delete()


ORDINARY = [f"alpha-{name}" for name in ("server", "client", "trainer")]
PORTS = (PORT, METRICS_PORT, RENDEZVOUS_PORT)
OPERATOR = [("operator", port) for port in (PROGRESS_PORT, OPERATOR_METRICS_PORT, HEALTH_PORT)]
TARGETS = [*((name, port) for name in (*ORDINARY, "alpha-remote", "alpha-sandbox") for port in PORTS), *OPERATOR]
OF_THE_RUN = {(name, port) for name in ORDINARY for port in PORTS} | {("alpha-remote", PORT)}


def agrees(found: Callable[[], Any], expected: Any) -> None:
    """Check a result, which may take until the policies are enforced."""
    deadline = time.monotonic() + SECONDS
    while (last := found()) != expected and time.monotonic() < deadline:
        pass
    assert last == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpha-server", OF_THE_RUN | {("operator", PROGRESS_PORT)}),
        ("alpha-trainer", OF_THE_RUN | {("operator", PROGRESS_PORT)}),
        ("beta-server", {("operator", PROGRESS_PORT)}),
        ("neighbour", set()),
        (
            "prometheus",
            {
                ("operator", OPERATOR_METRICS_PORT),
                *((name, port) for name in ORDINARY for port in (PORT, METRICS_PORT)),
            },
        ),
        ("stranger", set()),
        ("alpha-remote", set()),
        ("alpha-sandbox", set()),
    ],
)
def test_a_pod_reaches_only_what_the_policies_allow(places, name, expected):
    targets = [target for target in TARGETS if target[0] != name]  # a pod always reaches itself
    agrees(lambda: places.reached(name, targets), {target for target in expected if target[0] != name})


@pytest.mark.parametrize("name", ["alpha-sandbox", "alpha-remote"])
def test_the_policy_alone_closes_the_network_of_foreign_code(places, name):
    agrees(lambda: places.execute(name, PROBE), [])
    assert places.execute("neighbour", PROBE), "the probe finds a network where there is one"


def test_a_server_with_code_of_a_model_does_not_start_with_a_network(places):
    """Without the label, the policy for code of a model does not select its pod. With it, alpha-remote is Ready."""
    name, cluster = "alpha-open", Cluster(WATCHED)
    places.apply(WATCHED, [with_network_check(pod(name, {names.LABEL_RUN: ALPHA.name}, PORT), ALPHA)])
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", f"pod/{name}", "--timeout=90s")
    (check,) = cluster.get("pod", name)["status"]["initContainerStatuses"]
    ended = check["state"]["terminated"]
    assert (check["name"], ended["exitCode"]) == (names.NETWORK_CHECK_CONTAINER, EXIT_USER_ERROR)
    assert "network access (tcp" in ended["message"]
