"""A Prometheus on this machine that scrapes the pods of the local cluster."""

import json
import math
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.chart import template
from support.discovery import discovering
from support.live import OPERATOR_NAMESPACE, REPOSITORY
from support.monitoring import with_values
from support.scrape_config import scrape_configs

INTERVAL = 2
"""Seconds between scrapes: stages of the tests are short."""
START_SECONDS = 30.0
STEP = 2
"""Seconds between the points of a graph."""


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of a running Prometheus."""

    url: str
    started: float = field(default_factory=time.time)

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of a reply; fail with the error that it names."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def graph(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression of a dashboard since the start, without values that are no number."""
        expression = with_values(expression, math.ceil(time.time() - self.started))
        times = {"start": str(self.started), "end": str(time.time()), "step": str(STEP)}
        found = self.ask("query_range", query=expression, **times)["result"]
        for series in found:
            series["values"] = [float(v) for _, v in series["values"] if math.isfinite(float(v))]
        return [series for series in found if series["values"]]


@contextmanager
def running(folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus with the monitors and the alerts of the chart; its data are in a folder."""
    sets = ("serviceMonitor", "podMonitor", "prometheusRule")
    values = ["images.registry=none", "networkPolicy.monitoringNamespaces={monitoring}"]
    values += [f"metrics.{name}.enabled=true" for name in sets]
    command = template(OPERATOR_NAMESPACE, *(word for value in values for word in ("--set", value)))
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = [document for document in yaml.safe_load_all(rendered) if document]
    (rules,) = (document["spec"] for document in documents if document["kind"] == "PrometheusRule")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    configuration = {
        "global": {"evaluation_interval": "15s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": scrape_configs(documents, f"{INTERVAL}s"),
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    found = subprocess.run([REPOSITORY / "hack/prometheus"], capture_output=True, text=True, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    program = [Path(found.stdout.strip()) / "prometheus", *(f"--{name}={value}" for name, value in arguments.items())]
    services = [document for document in documents if document["kind"] == "Service"]
    with (folder / "log").open("wb") as log, discovering(folder, services):
        process = subprocess.Popen(program, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"GOMAXPROCS": "1"})
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/-/ready", process, folder / "log")
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"Prometheus does not start: {log.read_text()}")
