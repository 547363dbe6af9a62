"""The series and labels in the dashboard and the alerts exist."""

import json
import re

import pytest
import yaml

from fusionrun.metrics import Metrics
from fusionrun.run_metrics import COUNTERS, GAUGES
from fusionrun_stages.client.metrics import ClientMetrics, MetricsCollector

CLIENT = ClientMetrics(requests={200: 1}, rows={"stop": 1}, tokens={"prompt": 1}, slots={"busy": 1})
CLIENTS = (
    MetricsCollector("generate", "source", lambda: CLIENT),
    MetricsCollector("judge", "model", lambda: CLIENT, "judgements"),
)
NAMES = Metrics(list).names() | {
    f"{family.name}_total" if family.type == "counter" else family.name
    for client in CLIENTS
    for family in client.collect()
}


def queries(root):
    dashboard = json.loads((root / "manifests/monitoring/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]
    for group in yaml.safe_load((root / "manifests/monitoring/rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def test_every_queried_series_exists(root):
    pattern = r"\b(?:fusionrun_(?!dev_)|process_)\w+"
    queried = {name for _, query in queries(root) for name in re.findall(pattern, query)}
    assert len(queried) > 15
    assert queried <= NAMES


def test_every_queried_label_exists(root):
    families = {**GAUGES, **{f"{name}_total": family for name, family in COUNTERS.items()}}
    for title, query in queries(root):
        for name, matchers in re.findall(r"\b(fusionrun_\w+)\{([^}]*)\}", query):
            if name in families:
                queried = set(re.findall(r"(\w+)\s*(?:=~|=|!=)", matchers))
                assert queried <= set(families[name][1]), f"{title}: {name}"


def test_every_metric_of_a_run_is_on_the_dashboard(root):
    shown = " ".join(query for _, query in queries(root))
    left_out = {"fusionrun_created_timestamp_seconds"}
    assert [n for n in GAUGES if n not in shown and n not in left_out] == []


def test_panels_do_not_overlap_and_have_a_query(root):
    dashboard = json.loads((root / "manifests/monitoring/dashboard.json").read_text())
    cells = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & covered, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= covered
        assert panel["type"] == "row" or panel["targets"]
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("annotation", ["summary", "description"])
def test_every_alert_has_a_summary_and_a_description(root, annotation):
    for group in yaml.safe_load((root / "manifests/monitoring/rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"][annotation], rule["alert"]
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
