"""The measured controllers: how each is installed and started, and the object that runs the stages of a shape."""

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import argo_workflow
import yaml
from fixtures import kubectl, wait_until_served
from process import Process, free_ports
from shapes import NAMESPACE, Workload

from fusionrun.names import API_VERSION, KIND

ROOT = Path(__file__).parents[3]
IMAGES = dict.fromkeys(("data", "serve", "train", "reward", "sandbox"), "registry.example.com/fusionrun:bench")


class Engine(ABC):
    """A controller. ``folder`` gets its files, ``kubeconfig`` is that of its user.

    Attributes
    ----------
    kind
        Kind of the object that runs the stages.
    watched
        Paths of the watched kinds, without pods. The placeholder is the namespace.
    made
        The kinds that the controller itself creates for a stage.
    """

    kind: ClassVar[str]
    api_version: ClassVar[str]
    watched: ClassVar[Mapping[str, str]]
    made: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder = folder
        self.kubeconfig = kubeconfig

    @abstractmethod
    def install(self) -> None:
        """Create what the controller needs. The namespace exists."""

    @abstractmethod
    def start(self) -> Process:
        """Start the controller."""

    @abstractmethod
    def manifest(self, workload: Workload, name: str) -> dict[str, Any]:
        """Return the object that runs the stages."""

    def _process(self, command: list[str | Path], environment: Mapping[str, str]) -> Process:
        required = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "KUBECONFIG": str(self.kubeconfig)}
        return Process(command, self.folder / "controller.log", required | dict(environment))


class FusionRunOperator(Engine):
    """The operator, without a Lease and with the defaults of the chart."""

    kind = KIND
    api_version = API_VERSION
    watched: ClassVar = {
        "Job": "/apis/batch/v1/namespaces/{}/jobs",
        "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
        "FusionRun": "/apis/fusionrun.dev/v1alpha1/namespaces/{}/fusionruns",
    }
    made: ClassVar = ("Job", "Deployment")

    def install(self) -> None:
        """Create the CRD, and write the settings."""
        kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "crd.yaml"))
        wait_until_served(self.watched[self.kind])
        ports = dict(zip(("metrics_port", "progress_port", "health_port"), free_ports(3), strict=True))
        (self.folder / "settings.yaml").write_text(yaml.safe_dump({"images": IMAGES, **ports}))

    def start(self) -> Process:
        """Start the operator of this checkout."""
        command = [sys.executable, "-m", "fusionrun", "--settings", self.folder / "settings.yaml"]
        return self._process(command, {"PYTHONPATH": str(ROOT / "operator")})

    def manifest(self, workload: Workload, name: str) -> dict[str, Any]:
        """Return a FusionRun."""
        return workload.manifest(name)


class ArgoController(Engine):
    """Argo's workflow-controller, in one namespace, without leader election, set for short stages."""

    kind = "Workflow"
    api_version = "argoproj.io/v1alpha1"
    watched: ClassVar = {"Workflow": "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"}
    made: ClassVar = ("Pod",)
    environment: ClassVar[Mapping[str, str]] = {"DEFAULT_REQUEUE_TIME": "50ms", "LEADER_ELECTION_DISABLE": "true"}
    limits: ClassVar[Sequence[str]] = ("--qps=1000", "--burst=2000")

    def install(self) -> None:
        """Build the controller if necessary, and create the CRDs and its ConfigMap."""
        build = [ROOT / "hack" / "integrations" / "build", "workflow-controller"]
        found = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        self._program = Path(found[2])
        crds = self._program / "manifests" / "base" / "crds" / "minimal"
        kubectl("apply", "--server-side", "-k", str(crds))
        wait_until_served(self.watched[self.kind])
        (port,) = free_ports(1)
        security = json.dumps({"securityContext": argo_workflow.RESTRICTED})
        data = {"executor": security, "metricsConfig": json.dumps({"port": port, "secure": False})}
        name = {"name": "workflow-controller-configmap", "namespace": NAMESPACE}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": data}
        kubectl("create", "-f", "-", stdin=json.dumps(config))

    def start(self) -> Process:
        """Start the controller."""
        command = [self._program / "workflow-controller", f"--namespace={NAMESPACE}", "--namespaced", *self.limits]
        return self._process(command, self.environment)

    def manifest(self, workload: Workload, name: str) -> dict[str, Any]:
        """Return a Workflow with the operator's plan."""
        return argo_workflow.workflow(name, workload.plan)


class ArgoDefaults(ArgoController):
    """The same with its defaults: it looks at a Workflow 10 s after an event, and sends 20 requests per second."""

    environment: ClassVar = {"LEADER_ELECTION_DISABLE": "true"}
    limits: ClassVar = ()


ENGINES: dict[str, type[Engine]] = {
    "FusionRun": FusionRunOperator,
    "Argo": ArgoController,
    "ArgoDefaults": ArgoDefaults,
}
