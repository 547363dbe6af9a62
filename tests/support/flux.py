"""Flux's source-controller and kustomize-controller as processes on this machine (hack/integrations/build)."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.git_server import GitRepository, git_repository
from support.live import Cluster
from support.operator_process import free_ports
from support.stand_in_run import until

SOURCE = Path(os.environ.get("FUSIONRUN_SOURCE_CONTROLLER_1_9_6", "source-controller"))
KUSTOMIZE = Path(os.environ.get("FUSIONRUN_KUSTOMIZE_CONTROLLER_1_9_6", "kustomize-controller"))
KIND = "kustomizations.kustomize.toolkit.fluxcd.io"
REPOSITORY_KIND = "gitrepositories.source.toolkit.fluxcd.io"
REQUESTED = "reconcile.fluxcd.io/requestedAt"


@dataclass(frozen=True)
class Flux:
    """Both controllers, and a Git repository from which they apply."""

    cluster: Cluster
    git: GitRepository
    log: Path
    """JSON log of the kustomize-controller."""

    def add(self, name: str, **spec: Any) -> None:
        """Create a Kustomization for the folder of its name."""
        source = {"kind": "GitRepository", "name": "repository"}
        defaults = {"interval": "1h", "retryInterval": "1h", "timeout": "30s", "prune": True}
        manifest = {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": name},
            "spec": {**defaults, "sourceRef": source, "path": f"./{name}", **spec},
        }
        self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def push(self, name: str, files: dict[str, Any]) -> dict[str, Any]:
        """Commit files of a Kustomization's folder, and return it when it has been applied or has failed."""
        texts = {f"{name}/{file}": None if value is None else json.dumps(value) for file, value in files.items()}
        revision = f"main@sha1:{self.git.commit(texts)}"
        self.request(REPOSITORY_KIND, "repository")
        return self.settled(name, lambda status: status.get("lastAttemptedRevision") == revision)

    def reconcile(self, name: str) -> dict[str, Any]:
        """Let a Kustomization be applied again, and return it."""
        token = self.request(KIND, name)
        return self.settled(name, lambda status: status.get("lastHandledReconcileAt") == token)

    def request(self, kind: str, name: str) -> str:
        """Request a reconciliation; return its token."""
        token = str(time.time_ns())
        self.cluster.kubectl("annotate", "--overwrite", kind, name, f"{REQUESTED}={token}")
        return token

    def settled(self, name: str, reached: Any) -> dict[str, Any]:
        """Wait until a Kustomization's status is reached and its reconciliation has ended; return the Kustomization."""

        def ended(found: dict[str, Any]) -> bool:
            status = found.get("status", {})
            return reached(status) and ready(found)["status"] in ("True", "False")

        found: dict[str, Any] = until(lambda: self.cluster.get(KIND, name), ended, f"Kustomization {name}")
        return found

    def last_apply(self, name: str) -> dict[str, str]:
        """Return what the last apply of a Kustomization did to each object."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        applied = [line for line in lines if line["msg"] == "server-side apply completed" and line.get("name") == name]
        output: dict[str, str] = applied[-1]["output"]
        return output


def ready(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the condition Ready of an object."""
    conditions = manifest.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {"status": "Unknown", "message": ""})


@contextmanager
def flux(cluster: Cluster, folder: Path) -> Iterator[Flux]:
    """Run Flux for the cluster, with an empty repository; remove its CRDs afterwards."""
    crds = [str(program / "config" / "crd" / "bases") for program in (SOURCE, KUSTOMIZE)]
    for each in crds:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", each)
        cluster.kubectl("wait", "--for=condition=Established", "-f", each, "--timeout=60s")
    storage, *ports = free_ports(5)
    address = f"127.0.0.1:{storage}"
    (folder / "storage").mkdir()
    options = [f"--storage-path={folder / 'storage'}", f"--storage-addr={address}", f"--storage-adv-addr={address}"]
    with ExitStack() as stack:
        stack.callback(lambda: [cluster.kubectl("delete", "--wait=false", "-f", each) for each in crds])
        stack.enter_context(_process(SOURCE, folder, ports[:2], options))
        log = stack.enter_context(_process(KUSTOMIZE, folder, ports[2:], []))
        git = stack.enter_context(git_repository(folder))
        manifest = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": "repository"},
            "spec": {"interval": "1h", "url": git.url, "ref": {"branch": "main"}},
        }
        git.commit({"README.md": "The objects of the test.\n"})
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
        yield Flux(cluster, git, log)
        cluster.kubectl("delete", f"{KIND},{REPOSITORY_KIND}", "--all", "--timeout=60s")


@contextmanager
def _process(program: Path, folder: Path, ports: list[int], options: list[str]) -> Iterator[Path]:
    """Run a controller; yield its log."""
    name = program.name.rpartition("-")[0]
    addresses = [f"--{kind}-addr=127.0.0.1:{port}" for kind, port in zip(("metrics", "health"), ports, strict=True)]
    command = [program / name, *addresses, "--events-addr=", "--log-encoding=json", *options]
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        environment = os.environ | {"RUNTIME_NAMESPACE": "default"}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield log
        finally:
            process.terminate()
            process.wait(timeout=60)
