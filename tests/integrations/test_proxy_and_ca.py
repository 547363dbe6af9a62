"""A run whose models and data sets are in an object store behind a proxy, with certificates of a private CA.

The store is a real one, versitygw. Its name, ``store.example``, exists only for the proxy, so no pod reaches the store
without it, and its certificate is that of a CA that no image has (``tests/support/tls``).

It needs what the end-to-end tests need: a cluster with the images of this checkout, the operator, and the namespace
``fusionrun-test`` with its inputs (hack/test/e2e prepares them). FUSIONRUN_VERSITYGW is the path of the program on the
machine of the test: a static binary of versitygw 1.8 for the architecture of the nodes.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import proxy
from support.live import Cluster, built_images, condition, small_run

pytestmark = pytest.mark.integrations

TLS = Path(proxy.__file__).parent / "tls"
PROXY, STORE, BUCKET = "test-proxy", "test-store", "fusionrun"
STORE_PORT, PROXY_PORT = 7070, 3128
CERTIFICATES = "/mnt/ca/ca.crt"
KEYS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "a secret of the tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "https://store.example",
}
PROMPTS, MEASURED = 100, 4

START = f"""
import os, pathlib, time
program = pathlib.Path("/srv/versitygw")
while not program.exists():
    time.sleep(0.2)
for folder in ("objects", "metadata"):
    pathlib.Path("/srv", folder).mkdir()
os.execv(program, [str(program), "--port", ":{STORE_PORT}", "--cert", "/tls/tls.crt", "--key", "/tls/tls.key",
                   "posix", "--sidecar", "/srv/metadata", "/srv/objects"])
"""
"""Wait for the program, which no image has, and become it."""
RECEIVE = """
import os, shutil, sys
with open("/srv/part", "wb") as file:
    shutil.copyfileobj(sys.stdin.buffer, file)
os.chmod("/srv/part", 0o755)
os.rename("/srv/part", "/srv/versitygw")
"""
UPLOAD = f"""
import time
from fusionrun_stages.remote.object_store import s3
store = s3()
for attempt in range(60):
    try:
        store.mkdir("{BUCKET}")
        break
    except Exception as error:  # the store is starting
        print(error)
        time.sleep(1)
for name in ("models/target", "prompts/instruction.jsonl"):
    store.put(f"/data/inputs/tiny/{{name}}", f"{BUCKET}/{{name}}", recursive=name.startswith("models"))
print(store.find("{BUCKET}"))
"""
LIST = f"""
import json
from fusionrun_stages.remote.object_store import s3
print(json.dumps(s3().find("{BUCKET}/fused")))
"""


def pod(name: str, command: list[str], volumes: dict[str, dict[str, Any]], env: dict[str, str]) -> dict[str, Any]:
    """Return a pod under the restricted standard, with volumes by the path where they are mounted."""
    image = built_images().data
    mounts = [{"name": f"v{number}", "mountPath": path} for number, path in enumerate(volumes)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"test": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "env": [{"name": k, "value": v} for k, v in env.items()],
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [{"name": f"v{number}"} | source for number, source in enumerate(volumes.values())],
        },
    }


def service(name: str, port: int) -> dict[str, Any]:
    """Return the Service of a pod of the test."""
    spec = {"selector": {"test": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def config_map(name: str, file: Path) -> dict[str, Any]:
    """Return a ConfigMap with a file."""
    data = {file.name: file.read_text()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def objects(namespace: str) -> list[dict[str, Any]]:
    """Return the store and the proxy to it. In the pod of the proxy there is also a client that uses it."""
    place = f"store.example={STORE}.{namespace}.svc:{STORE_PORT}"
    root = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    client = {**KEYS, "SSL_CERT_FILE": CERTIFICATES, "HTTPS_PROXY": f"http://127.0.0.1:{PROXY_PORT}"}
    claim = {"persistentVolumeClaim": {"claimName": "fusion-data"}}
    return [
        config_map("test-ca", TLS / "ca.crt"),
        config_map("test-proxy", Path(proxy.__file__)),
        secret("test-tls", {f"tls.{end}": (TLS / f"server.{end}").read_text() for end in ("crt", "key")}),
        secret("test-keys", KEYS),
        service(STORE, STORE_PORT),
        service(PROXY, PROXY_PORT),
        pod(
            STORE,
            ["python", "-u", "-c", START],
            {"/srv": {"emptyDir": {}}, "/tls": {"secret": {"secretName": "test-tls"}}},
            root,
        ),
        pod(
            PROXY,
            ["python", "-u", "/opt/proxy/proxy.py", str(PROXY_PORT), place],
            {"/opt/proxy": {"configMap": {"name": "test-proxy"}}, "/mnt/ca": {"configMap": {"name": "test-ca"}},
             "/data": claim, "/tmp": {"emptyDir": {}}},
            client,
        ),
    ]  # fmt: skip


def settings() -> dict[str, Any]:
    """Return the settings of the data stages."""
    return {
        "env": [
            {"name": "HTTPS_PROXY", "value": f"http://{PROXY}:{PROXY_PORT}"},
            {"name": "SSL_CERT_FILE", "value": CERTIFICATES},
        ],
        "volumes": [{"name": "ca", "configMap": {"name": "test-ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/mnt/ca"}],
    }


def run_of(name: str) -> dict[str, Any]:
    """Return a small run with one source, whose target and data set are in the store, and which publishes to it."""
    run = small_run(name, PROMPTS, MEASURED)
    spec = run["spec"]
    (instruction,) = [d for d in spec["datasets"] if d["name"] == "instruction"]
    instruction["uri"] = f"s3://{BUCKET}/prompts/instruction.jsonl"
    spec |= {
        "sources": [s for s in spec["sources"] if s["name"] == "scribe"],
        "datasets": [instruction],
        "s3": {"secretRef": {"name": "test-keys"}},
        "dataStages": {"pod": settings()},
        "publish": {"uri": f"s3://{BUCKET}/fused", "s3SecretRef": {"name": "test-keys"}},
        "backoffLimit": 0,
    }
    spec["target"]["model"] = {"uri": f"s3://{BUCKET}/models/target"}
    spec["evaluation"] = {"benchmarks": []}
    spec["training"] |= {"nodes": 1}
    return run


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return the namespace, with the store that has the inputs, and the proxy."""
    found = Cluster("fusionrun-test")
    program = Path(os.environ["FUSIONRUN_VERSITYGW"])
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(found.namespace)})
    found.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=text)
    found.kubectl("apply", "-f", "-", stdin=text)
    try:
        found.kubectl("wait", "--for=condition=Ready", f"pod/{STORE}", f"pod/{PROXY}", "--timeout=3m")
        send(found, program)
        found.kubectl("exec", PROXY, "--", "python", "-c", UPLOAD)
        yield found
    finally:
        found.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=text)


def send(cluster: Cluster, program: Path) -> None:
    """Send the program to the pod of the store."""
    command = ["kubectl", "-n", cluster.namespace, "exec", "-i", STORE, "--", "python", "-c", RECEIVE]
    with program.open("rb") as file:
        subprocess.run(command, stdin=file, check=True)


def opened(cluster: Cluster) -> int:
    """Return the number of connections through the proxy."""
    return cluster.kubectl("logs", PROXY).count("CONNECT store.example:443")


def apply(cluster: Cluster, run: dict[str, Any]) -> dict[str, Any]:
    """Create a run and return it when it is finished."""
    name = run["metadata"]["name"]
    cluster.kubectl("delete", "fusionrun", name, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(run))
    *_, finished = cluster.watch(name)
    return finished


def test_a_run_reads_and_publishes_through_the_proxy_with_the_private_ca(cluster):
    before = opened(cluster)
    finished = apply(cluster, run_of("behind-a-proxy"))
    assert condition(finished, "Complete") == "True", condition(finished, "Ready", "message")
    assert opened(cluster) > before
    states = {s["name"]: s["state"] for s in finished["status"]["stages"]}
    assert {states[name] for name in ("resolve", "fetch/target", "publish")} <= {"Succeeded", "CacheHit"}
    assert states["publish"] == "Succeeded"
    published = json.loads(cluster.kubectl("exec", PROXY, "--", "python", "-c", LIST))
    names = {name.removeprefix(f"{BUCKET}/fused/") for name in published}
    assert "provenance.json" in names
    assert [name for name in names if name.endswith(".safetensors")]
    assert [name for name in names if name.endswith(".parquet")]


def test_a_run_without_the_private_ca_says_why_it_fails(cluster):
    run = run_of("without-a-ca")
    run["spec"]["dataStages"]["pod"]["env"].pop()
    finished = apply(cluster, run)
    assert condition(finished, "Failed") == "True"
    message = condition(finished, "Failed", "message")
    assert "resolve" in message
    assert "certificate verify failed" in message, message


def test_a_run_without_the_proxy_says_why_it_fails(cluster):
    run = run_of("without-a-proxy")
    run["spec"]["dataStages"]["pod"]["env"].pop(0)
    finished = apply(cluster, run)
    assert condition(finished, "Failed") == "True"
    assert "cannot reach the object store" in condition(finished, "Failed", "message")
