"""The CRD on the real API server, in a separate API group, so that no operator acts on the objects of the tests."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from fusionrun import names
from fusionrun.api.crd.definition import build_crd
from fusionrun.plan.defaults import descriptions
from support.live import wait_until_established


@dataclass(frozen=True)
class Reply:
    """The API server's reply."""

    ok: bool
    text: str
    """The object, or the message of the refusal."""


def kubectl(*words: str, stdin: str = "") -> str:
    """Run kubectl; if it fails, fail the test with its output."""
    done = subprocess.run(["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Cluster:
    """The API server, through ``kubectl proxy``: a request costs milliseconds, a kubectl much more."""

    proxy: str
    group: str
    namespace: str

    def kubectl(self, *words: str) -> str:
        return kubectl("-n", self.namespace, *words)

    def ask(self, method: str, path: str, body: str, content: str) -> Reply:
        root = f"{self.proxy}/apis/{self.group}/{names.VERSION}/namespaces/{self.namespace}/{names.PLURAL}"
        request = urllib.request.Request(f"{root}{path}", body.encode(), {"Content-Type": content}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Reply(True, reply.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(False, json.loads(error.read())["message"])

    def here(self, text: str) -> str:
        """Return a FusionRun's YAML as JSON, which is what kubectl sends, under the tests' group."""
        return json.dumps(yaml.safe_load(text) | {"apiVersion": f"{self.group}/{names.VERSION}"})

    def create(self, text: str, *, dry_run: bool = False) -> Reply:
        """Send a FusionRun through admission as ``kubectl create`` does: an unknown field is an error."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.ask("POST", query, self.here(text), "application/json")

    def apply(self, name: str, text: str) -> Reply:
        """Change a FusionRun as ``kubectl apply --server-side`` does."""
        query = "?fieldValidation=Strict&fieldManager=tests&force=true"
        return self.ask("PATCH", f"/{name}{query}", self.here(text), "application/apply-patch+yaml")

    def patch(self, name: str, change: dict[str, Any], door: str = "") -> Reply:
        """Merge a change into a FusionRun, or into its ``/status``."""
        return self.ask("PATCH", f"/{name}{door}", json.dumps(change), "application/merge-patch+json")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    assert os.environ.get("KUBECONFIG"), 'no cluster: eval "$(hack/cluster/env)"'
    mark = f"t{os.getpid()}"
    crd = build_crd(descriptions())
    group, namespace = f"{mark}.{names.GROUP}", f"crd-{mark}"
    crd["metadata"]["name"] = f"{names.PLURAL}.{group}"
    crd["spec"]["group"] = group
    crd["spec"]["names"] |= {"shortNames": [], "categories": []}
    proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())[0]
        kubectl("create", "-f", "-", stdin=json.dumps(crd))
        wait_until_established(crd)
        kubectl("create", "namespace", namespace)
        found = Cluster(f"http://{address}", group, namespace)
        _wait_until_served(found)
        yield found
    finally:
        proxy.terminate()
        proxy.wait()
        proxy.stdout.close()
        kubectl("delete", "--ignore-not-found", "--wait=false", "namespace", namespace)
        kubectl("delete", "--ignore-not-found", "--wait=false", "crd", crd["metadata"]["name"])


def _wait_until_served(cluster: Cluster) -> None:
    """Ask for the list until the new kind has its handler, moments after the CRD is Established."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(
                f"{cluster.proxy}/apis/{cluster.group}/{names.VERSION}/{names.PLURAL}", timeout=30
            ):
                return
        except urllib.error.HTTPError:
            continue
    raise AssertionError("the new kind is not served")
