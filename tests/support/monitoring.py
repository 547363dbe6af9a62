"""The queries of the dashboards and alerts in manifests/monitoring."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parents[2] / "manifests" / "monitoring"
DASHBOARDS = ("dashboard.json", "dashboard-fleet.json")
RATE_SECONDS = 20
"""Window of rates in the tests, whose stages are short."""


class Query(NamedTuple):
    """A query and the panel, variable, annotation or alert that has it."""

    owner: str
    expression: str


def with_values(expression: str, seconds: int) -> str:
    """Return an expression with the values of the variables: all runs, and a time range of some seconds."""
    values = {"$namespace": ".*", "$run": ".*", "$__rate_interval": f"{RATE_SECONDS}s", "$__range": f"{seconds}s"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard by the name of its file."""
    read: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return read


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_queries(name: str) -> Iterator[Query]:
    """Yield the queries of the panels and annotations of a dashboard."""
    page = dashboard(name)
    for panel in page["panels"]:
        for target in panel.get("targets", []):
            yield Query(f"{page['title']}: {panel['title']}", target["expr"])
    for annotation in page["annotations"].get("list", []):
        yield Query(f"{page['title']}: {annotation['name']}", annotation["expr"])


def variable_queries(name: str) -> Iterator[Query]:
    """Yield the queries of the variables of a dashboard, which are not PromQL."""
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(variable["name"], variable["query"]["query"])


def alert_queries() -> Iterator[Query]:
    """Yield the expressions of the alerts."""
    for rule in rules():
        yield Query(rule["alert"], rule["expr"])
