"""A training as a run of an MLflow tracking server, through MLflow's REST API.

The client library is not used: MLflow's smallest package would bring 25 others into the training image, a web server
among them, and it repeats a request to a server that is down for minutes.

Source: MLflow, "REST API": experiments/get-by-name, experiments/create, runs/search, runs/create, runs/update and
runs/log-batch; the environment variables of the credentials as in MLflow's client.
"""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusionrun.api.tasks.task import StageTask
from fusionrun.api.tasks.training import MlflowParameters

if TYPE_CHECKING:
    from fusionrun_stages.training.trackers import Entry

TIMEOUT_SECONDS = 10.0
REPLY_MAX_BYTES = 2**20
METRICS_AT_ONCE = 1000
"""Source: MLflow, "REST API", Log Batch: at most 1,000 metrics in a request."""
DIGEST_TAG = "fusionrun.digest"


class MlflowRun:
    """A run of MLflow. It is found or made with the first entry, so that a server may start after the training.

    A retry of the training continues the run of the attempt before it, which has the same digest as a tag.
    """

    def __init__(self, settings: MlflowParameters, task: StageTask, hyperparameters: Mapping[str, str]) -> None:
        self._api = f"{settings.tracking_uri.rstrip('/')}/api/2.0/mlflow"
        self._experiment = settings.experiment
        self._task = task
        self._hyperparameters = hyperparameters
        self._run_id: str | None = None

    def send(self, entries: Sequence["Entry"]) -> None:
        """Log the numbers of some steps. MLflow stores an equal metric once, so a repeated request has no effect."""
        run_id = self._opened()
        metrics = [
            {"key": name, "value": number, "timestamp": entry.milliseconds, "step": entry.step}
            for entry in entries
            for name, number in entry.numbers.items()
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self._call("runs/log-batch", {"run_id": run_id, "metrics": metrics[start : start + METRICS_AT_ONCE]})

    def close(self, *, succeeded: bool) -> None:
        """Set the final status of the run."""
        status = "FINISHED" if succeeded else "FAILED"
        self._call("runs/update", {"run_id": self._opened(), "status": status, "end_time": _now()})

    def _opened(self) -> str:
        if self._run_id is None:
            experiment = self._experiment_id()
            self._run_id = self._continued(experiment) or self._created(experiment)
        return self._run_id

    def _experiment_id(self) -> str:
        name = urllib.parse.quote(self._experiment, safe="")
        try:
            found = self._call(f"experiments/get-by-name?experiment_name={name}")
            return str(found["experiment"]["experiment_id"])
        except urllib.error.HTTPError as error:
            if error.code != 404:  # noqa: PLR2004 - RESOURCE_DOES_NOT_EXIST
                raise
        return str(self._call("experiments/create", {"name": self._experiment})["experiment_id"])

    def _continued(self, experiment: str) -> str | None:
        query = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{DIGEST_TAG}` = '{self._task.digest}'",
            "max_results": 1,
        }
        runs = self._call("runs/search", query).get("runs", [])
        if not runs:
            return None
        run_id = str(runs[0]["info"]["run_id"])
        self._call("runs/update", {"run_id": run_id, "status": "RUNNING"})
        return run_id

    def _created(self, experiment: str) -> str:
        task = self._task
        tags = {"fusionrun.name": task.run, "fusionrun.namespace": task.namespace, "fusionrun.stage": task.stage}
        wanted = {
            "experiment_id": experiment,
            "run_name": f"{task.run}/{task.stage}",
            "start_time": _now(),
            "tags": list(_pairs(tags | {DIGEST_TAG: task.digest})),
        }
        run_id = str(self._call("runs/create", wanted)["run"]["info"]["run_id"])
        self._call("runs/log-batch", {"run_id": run_id, "params": list(_pairs(self._hyperparameters))})
        return run_id

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request, GET without a body; raise OSError or ValueError if it fails."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}/{path}", data, {"Content-Type": "application/json"})  # noqa: S310
        if credentials := _credentials():
            request.add_unredirected_header("Authorization", credentials)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310 - http or https, by the spec
            content: dict[str, Any] = json.loads(reply.read(REPLY_MAX_BYTES) or b"{}")
            return content


def _credentials() -> str | None:
    """Return the header Authorization from MLflow's environment variables: a user and password, or a token."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _pairs(values: Mapping[str, str]) -> Iterator[dict[str, str]]:
    return ({"key": key, "value": value} for key, value in values.items())


def _now() -> int:
    return time.time_ns() // 1_000_000
