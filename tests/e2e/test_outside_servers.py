"""External sources (an endpoint with a key, a reward model over HTTP, responses of a data set), and a hanging server.

All model servers are real vLLM servers.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.sources import Source
from fusionrun.api.stage import StageKind
from fusionrun.objects.deployment import build_deployment, build_service, server_url
from fusionrun.plan.families.responses import ServedModel
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings
from support.live import OPERATOR_NAMESPACE, Cluster, condition, small_run
from support.runs import UID

pytestmark = pytest.mark.cluster
KEY = "outside"
"""The name, the key and the value of the Secret."""
PROMPTS, SAMPLES = 500, 8
"""Of the data set of the served source, which takes half a minute."""
OTHER_PROMPTS, CODING_SAMPLES = 100, 4
"""Of the other data sets, and of the data set of the endpoint."""
STOP_THE_ENGINE = """
import os, pathlib, re, signal, sys, time, urllib.request
def answered():
    text = urllib.request.urlopen("http://127.0.0.1:8000/metrics", timeout=10).read().decode()
    return sum(float(value) for value in re.findall(r"^vllm:request_success_total{.*} (.+)$", text, re.MULTILINE))
deadline = time.monotonic() + 300
while answered() < int(sys.argv[1]):
    assert time.monotonic() < deadline, "the client sent too few requests"
    time.sleep(0.1)  # vLLM has no watch
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if process.joinpath("comm").read_text().startswith("VLLM::Engine"):
        os.kill(int(process.name), signal.SIGSTOP)
        print("stopped")
"""
"""Hang a server that has answered some requests: vLLM's HTTP process accepts more, but its engine answers none."""


ASK = """
import json, os, urllib.error, urllib.request
def status(path, key):
    request = urllib.request.Request("http://127.0.0.1:8000" + path, headers={"Authorization": "Bearer " + key})
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
keys = ("", "wrong", os.environ["VLLM_API_KEY"])
print(json.dumps({path: [status(path, key) for key in keys] for path in ("/health", "/metrics", "/v1/models")}))
"""
"""The HTTP status of each path without a key, with a wrong one, and with that of the server."""


@dataclass
class Outside:
    """Model servers outside of any run."""

    cluster: Cluster
    settings: Settings
    names: list[str] = field(default_factory=list)

    def serve(self, name: str, *arguments: str, **environment: str) -> str:
        """Serve a tiny model with the operator's manifests; return its URL, with ``/v1``."""
        run = Run(self.cluster.namespace, KEY, UID, FusionRunSpec.model_validate(small_run(KEY, 1, 1)["spec"]))
        stage, child = Stage(StageKind.SERVE, Source(name=name)), f"{KEY}-{name}"
        served = ServedModel(name, f"/data/inputs/tiny/models/{name}", run.spec.evaluation.server or ServerSettings())
        deployment = build_deployment(run, stage, child, 0, self.settings, served)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        container["command"] += arguments
        container["env"] += [{"name": k, "value": v} for k, v in environment.items()]
        items = [deployment, build_service(run, stage, child, 0)]
        for item in items:
            del item["metadata"]["ownerReferences"]
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        self.names.append(child)
        return server_url(run, child)

    def wait(self) -> None:
        """Wait until all servers are ready."""
        for name in self.names:
            self.cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=10m")

    def end(self) -> None:
        """Delete the servers."""
        for name in self.names:
            self.cluster.kubectl("delete", f"deployment/{name}", f"service/{name}", "--wait=false")


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[Outside]:
    text = cluster.get("configmap", "fusionrun-settings", "-n", OPERATOR_NAMESPACE)["data"]["settings.yaml"]
    found = Outside(cluster, TypeAdapter(Settings).validate_python(yaml.safe_load(text)))
    cluster.kubectl("delete", "secret", KEY, "--ignore-not-found")
    cluster.kubectl("create", "secret", "generic", KEY, f"--from-literal={KEY}={KEY}")
    try:
        yield found
    finally:
        found.end()


def make_run(name: str, endpoint: str, reward: str) -> dict[str, Any]:
    """Return a run with one source of each type."""
    run = small_run(name, prompts=OTHER_PROMPTS, measured=1)
    spec = run["spec"]
    mathematics, coding, instruction = spec["datasets"]
    (scribe,) = [s for s in spec["sources"] if s["name"] == "scribe"]
    called = {
        "url": endpoint,
        "model": "programmer",
        "apiKeySecretRef": {"name": KEY, "key": KEY},
        "prices": {"prompt": 1, "completion": 2},
        "quota": {"maxCost": 1},
    }
    spec["sources"] = [
        scribe,
        {"name": "elsewhere", "type": "Endpoint", "endpoint": called, "sampling": scribe["sampling"]},
        {"name": "book", "type": "Dataset"},
    ]
    mathematics |= {
        "uri": "pvc://fusion-data/inputs/held/mathematics.jsonl",
        "sources": ["book"],
        "responsesColumns": {"book": "solution"},
    }
    coding["uri"] = "pvc://fusion-data/inputs/held/coding.jsonl"
    coding["columns"]["solution"] = "solution"
    coding["samplesPerPrompt"] = CODING_SAMPLES
    coding["sources"], instruction["sources"] = ["elsewhere"], ["scribe"]
    instruction |= {"maxPrompts": PROMPTS, "samplesPerPrompt": SAMPLES}
    del spec["rewardModel"]["model"]
    spec["rewardModel"]["endpoint"] = {"url": reward.removesuffix("/v1"), "model": "reward"}
    spec["generation"]["stallSeconds"] = 30
    # Of two shards, one can be complete before the server hangs: its client may be the only one that the network
    # policies admit at first.
    spec["generation"] |= {"shards": 1, "parallelism": 1}
    spec["construction"]["seed"] = int(time.time())  # new digests, so no artifact is reused
    return run


@dataclass
class Followed:
    """A run up to its data set, and observations during the run."""

    status: dict[str, Any]
    resumed: list[tuple[int, int]]
    """By shard, the samples that a pod of the second attempt found stored, and those that it requested."""
    cost: list[int]
    """The costs of the endpoint in the status during its stage."""
    asked: dict[str, list[int]] = field(default_factory=dict)
    """What the run's own server answered to ``ASK``."""
    requested: int = 0
    """Samples that were requested from the endpoint."""

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        return {s["name"]: s for s in self.status.get("stages", [])}


@pytest.fixture(scope="module")
def followed(cluster: Cluster, outside: Outside) -> Iterator[Followed]:
    """Follow a run until its data set is complete. Its server hangs during the generation."""
    name = f"outside-{int(time.time())}"
    endpoint = outside.serve("programmer", VLLM_API_KEY=KEY)
    reward = outside.serve("reward", "--runner", "pooling")
    outside.wait()
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(make_run(name, endpoint, reward)))
    cost, asked = [], {}
    for run in cluster.watch(name):
        found = Followed(run.get("status", {}), [], cost, asked)
        generation = found.stages.get("generate/scribe", {})
        if generation.get("state") == "Running" and not asked:  # the server is ready; the client's pod is starting
            (pod,) = cluster.get("pods", "-l", f"fusionrun.dev/run={name},fusionrun.dev/stage=serve.scribe")["items"]
            execute = ("exec", pod["metadata"]["name"], "--", "python", "-c")
            asked.update(json.loads(cluster.kubectl(*execute, ASK)))
            assert cluster.kubectl(*execute, STOP_THE_ENGINE, str(PROMPTS)).strip() == "stopped"
        called = found.stages.get("generate/elsewhere", {})
        cost += [called["costMicro"]] if called.get("state") == "Running" and "costMicro" in called else []
        if condition(run, "Finished") == "True" or found.stages.get("construct", {}).get("state") == "Succeeded":
            break
    found.resumed.extend(stored_and_requested(cluster, name, "generate.scribe", attempt=1))
    found.requested = sum(count for _, count in stored_and_requested(cluster, name, "generate.elsewhere", attempt=0))
    yield found
    cluster.kubectl("delete", "fusionrun", name, "--wait=false")


def stored_and_requested(cluster: Cluster, run: str, stage: str, attempt: int) -> list[tuple[int, int]]:
    """Read from the logs of generate pods how many samples each found stored, and how many it requested."""
    labels = f"fusionrun.dev/run={run},fusionrun.dev/stage={stage},fusionrun.dev/attempt={attempt}"
    text = cluster.kubectl("logs", "-l", labels, "--tail=-1")
    pairs = re.findall(r"(\d+) samples are stored, (\d+) are missing", text)
    return [(int(stored), int(requested)) for stored, requested in pairs]


def test_the_server_of_a_run_asks_for_its_key(followed):
    assert followed.asked == {"/health": [200] * 3, "/metrics": [200] * 3, "/v1/models": [401, 401, 200]}


def test_a_server_that_hangs_is_restarted_and_stored_samples_are_kept(followed):
    generation = followed.stages["generate/scribe"]
    assert (generation["state"], generation.get("attempt")) == ("Succeeded", 1), followed.status
    assert sum(stored for stored, _ in followed.resumed) > 0
    assert sum(map(sum, followed.resumed)) == PROMPTS * SAMPLES


def test_an_endpoint_with_a_key_answers_and_its_cost_is_in_the_status(followed):
    generation = followed.stages["generate/elsewhere"]
    assert generation["state"] == "Succeeded"
    assert [c for c in followed.cost if 0 < c <= generation["costMicro"]] == followed.cost != []
    assert "serve/elsewhere" not in followed.stages


def test_a_source_of_type_dataset_has_no_server(followed):
    assert {name for name in followed.stages if name.endswith("/book")} == {"score/book"}
    assert followed.stages["verify/book.mathematics"]["state"] == "Succeeded"


def test_a_prompt_whose_solution_fails_its_tests_is_not_sent_to_a_source(followed):
    assert followed.stages["verify/solutions"]["state"] == "Succeeded"
    failed = followed.status["dataset"]["drops"]["SolutionFailed"]
    assert OTHER_PROMPTS / 20 < failed < OTHER_PROMPTS / 2
    assert followed.requested == (OTHER_PROMPTS - failed) * CODING_SAMPLES


def test_a_reward_model_over_http_scores_the_responses_of_all_sources(followed):
    assert {followed.stages[f"score/{s}"]["state"] for s in ("scribe", "elsewhere", "book")} == {"Succeeded"}
    rows = {s["source"]: s for s in followed.status["dataset"]["bySource"]}
    assert {name for name, source in rows.items() if source["sftRows"]} == {"scribe", "elsewhere", "book"}
    assert rows["scribe"]["pairs"] > 0
