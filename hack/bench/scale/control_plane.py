"""A Kubernetes control plane without nodes: etcd, API server, controllers and scheduler as processes.

The programs are those of the local cluster, in PATH (``hack/cluster/env``). All ports are free ones of the loopback
interface, and all data are in one folder, so that several control planes and the local cluster can run together.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from process import Process, free_ports
from shapes import NAMESPACE

CONTROLLER = f"system:serviceaccount:{NAMESPACE}:controller"
"""User of the measured controller. Its requests are in the audit log, and have the priority of a ServiceAccount's."""
KUBELET, ADMIN = "bench:kubelet", "bench:admin"
GROUPS = {
    CONTROLLER: f"system:serviceaccounts,system:serviceaccounts:{NAMESPACE}",
    KUBELET: "system:masters",
    ADMIN: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [CONTROLLER]}, {"level": "None"}],
}
CLIENT = {"qps": 200, "burst": 400}
"""As in the local cluster: the controllers of Kubernetes are not measured, and must not be the bottleneck."""
SCHEDULER = {
    "apiVersion": "kubescheduler.config.k8s.io/v1",
    "kind": "KubeSchedulerConfiguration",
    "leaderElection": {"leaderElect": False},
    "profiles": [
        {
            "pluginConfig": [
                {
                    "name": "NodeResourcesFit",
                    "args": {
                        "scoringStrategy": {
                            "type": "MostAllocated",
                            "resources": [{"name": "nvidia.com/gpu", "weight": 1}],
                        }
                    },
                }
            ]
        }
    ],
}
"""Pods fill a node before they use the next one, as docs/operations.md advises for servers with many GPUs."""
ETCD_BYTES = 8 << 30
"""The default of 2 GiB is too small for 1,000 runs in a few minutes."""
START_SECONDS = 180


class ControlPlane:
    """A running control plane, as a context manager that stops it. ``folder`` must exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = {user: secrets.token_hex(16) for user in GROUPS}
        self._programs: dict[str, Process] = {}
        self._stack = ExitStack()
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig file of a user."""
        file = self._folder / f"{user.rpartition(':')[2]}.kubeconfig"
        authority = str(self.certificate)
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": authority}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "bench", "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": NAMESPACE}}],
            "current-context": "bench",
        }
        file.write_text(json.dumps(content))
        return file

    @property
    def certificate(self) -> Path:
        """The certificate of the API server, which is its own authority. The key is beside it, with the suffix .key."""
        return self._folder / "pki" / "apiserver.crt"

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time of each program."""
        return {name: program.usage().cpu for name, program in self._programs.items()}

    def requests(self, since: float, until: float) -> Iterator[dict[str, Any]]:
        """Yield the requests of the measured controller between two times, from the audit log."""
        for part in sorted(self._folder.glob("audit*.log")):  # rotated parts have the time in their names
            with part.open() as lines:
                for line in lines:
                    event = json.loads(line)
                    if since <= _time(event["requestReceivedTimestamp"]) <= until:
                        yield event

    def _start(self) -> None:
        client, peer, self._port, controllers, scheduler = free_ports(5)
        folder = self._folder
        (folder / "tokens.csv").write_text(
            "".join(f'{self._tokens[user]},{user},{user},"{groups}"\n' for user, groups in GROUPS.items())
        )
        (folder / "audit.yaml").write_text(json.dumps(AUDIT_POLICY))
        key = folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
        etcd, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._run(
            "etcd", "--name=bench", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=bench={peers}",
            f"--quota-backend-bytes={ETCD_BYTES}",
        )  # fmt: skip
        self._run(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}", f"--cert-dir={folder / 'pki'}", "--endpoint-reconciler-type=none",
            f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
            "--etcd-compaction-interval=1m", f"--audit-policy-file={folder / 'audit.yaml'}",
            f"--audit-log-path={folder / 'audit.log'}", "--audit-log-mode=batch",
        )  # fmt: skip
        self._wait()
        config = {name: self.kubeconfig(f"system:{name}") for name in ("kube-controller-manager", "kube-scheduler")}
        self._run(
            "kube-controller-manager", f"--kubeconfig={config['kube-controller-manager']}", "--bind-address=127.0.0.1",
            f"--secure-port={controllers}", "--leader-elect=false", f"--service-account-private-key-file={key}",
            f"--root-ca-file={self.certificate}", "--use-service-account-credentials",
            f"--flex-volume-plugin-dir={folder / 'volume-plugins'}",
            f"--kube-api-qps={CLIENT['qps']}", f"--kube-api-burst={CLIENT['burst']}",
        )  # fmt: skip
        configuration = SCHEDULER | {"clientConnection": CLIENT | {"kubeconfig": str(config["kube-scheduler"])}}
        (folder / "scheduler.yaml").write_text(json.dumps(configuration))
        self._run(
            "kube-scheduler", f"--config={folder / 'scheduler.yaml'}", "--bind-address=127.0.0.1",
            f"--secure-port={scheduler}",
        )  # fmt: skip

    def _run(self, name: str, *arguments: str) -> None:
        program = Process([name, *arguments], self._folder / f"{name}.log")
        self._programs[name] = self._stack.enter_context(program)

    def _wait(self) -> None:
        """Wait until the API server is ready."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._programs["kube-apiserver"].check()
            if self.certificate.exists():
                command = ["kubectl", "--kubeconfig", self.kubeconfig(ADMIN), "get", "--raw", "/readyz"]
                if not subprocess.run(command, capture_output=True, check=False).returncode:
                    return
            time.sleep(0.2)
        raise TimeoutError(f"the API server is not ready after {START_SECONDS} s: see {self._folder}")


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
