"""The series and labels in the dashboards and the alerts exist."""

import re
import subprocess

import pytest
import yaml

from fusionrun.metrics import Metrics
from fusionrun.run_metrics import COUNTERS, GAUGES
from fusionrun_stages.client.metrics import ClientMetrics, MetricsCollector
from support.monitoring import DASHBOARDS, alert_queries, dashboard, panel_queries, rules, variable_queries, with_values

CLIENT = ClientMetrics({200: 1}, {"stop": 1}, {"prompt": 1}, slots={"busy": 1}, quota_left={"maxCost": 1})
CLIENTS = (
    MetricsCollector("generate", "source", lambda: CLIENT),
    MetricsCollector("judge", "model", lambda: CLIENT, "judgements"),
)
NAMES = Metrics(list).names() | {
    f"{family.name}_total" if family.type == "counter" else family.name
    for client in CLIENTS
    for family in client.collect()
}


ALL = [
    *(query for name in DASHBOARDS for query in (*panel_queries(name), *variable_queries(name))),
    *alert_queries(),
]


def test_every_queried_series_exists():
    expanded = [q for _, query in ALL for q in alternatives(query)]
    queried = {name for query in expanded for name in re.findall(r"\b(?:fusionrun_(?!dev_)|process_)\w+", query)}
    assert len(queried) > 40
    assert queried <= NAMES


def alternatives(query):
    """Return a query once for each alternative in its pattern of metric names."""
    if not (found := re.search(r"\(([\w|]+)\)", query)):
        return [query]
    texts = (query[: found.start()] + name + query[found.end() :] for name in found[1].split("|"))
    return [name for text in texts for name in alternatives(text)]


def test_every_queried_label_exists():
    families = {**GAUGES, **{f"{name}_total": family for name, family in COUNTERS.items()}}
    for title, query in ALL:
        for name, matchers in re.findall(r"\b(fusionrun_\w+)\{([^}]*)\}", query):
            if name in families:
                queried = set(re.findall(r"(\w+)\s*(?:=~|=|!=)", matchers))
                assert queried <= set(families[name][1]), f"{title}: {name}"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_of_runs_respects_the_variables(name):
    of_runs = {*GAUGES, *(f"{family}_total" for family in COUNTERS)}
    variables = {variable.owner: None for variable in variable_queries(name)}
    labels = {"namespace": ("namespace", "exported_namespace"), "run": ("name", "run")}
    for title, query in panel_queries(name):
        for family, matchers in re.findall(r"\b(fusionrun_\w+)(\{[^}]*\})?", query):
            if family in of_runs:
                for variable in variables:
                    chosen = [f'{label}=~"${variable}"' for label in labels[variable]]
                    assert any(text in matchers for text in chosen), f"{title}: {family}: {variable}"


def test_every_query_of_a_dashboard_is_promql(promtool, tmp_path):
    queries = [query for name in DASHBOARDS for query in panel_queries(name)]
    recorded = [{"record": f"query_{n}", "expr": with_values(q.expression, 600)} for n, q in enumerate(queries)]
    rules_file = tmp_path / "queries.yaml"
    rules_file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", rules_file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "$" not in rules_file.read_text(), "a variable without a value"


def test_every_metric_of_a_run_is_on_a_dashboard():
    shown = {name for _, query in ALL for name in re.findall(r"\w+", query)}
    assert [n for n in (*GAUGES, *(f"{name}_total" for name in COUNTERS)) if n not in shown] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_have_a_query(name):
    panels = dashboard(name)["panels"]
    cells = set()
    for panel in panels:
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & covered, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= covered
        assert panel["type"] in ("row", "text") or panel["targets"]
    ids = [p["id"] for p in panels]
    assert len(ids) == len(set(ids))


def test_tables_name_the_run_in_each_row():
    """``groupingToMatrix`` keeps one value for each row and column."""
    for panel in (panel for name in DASHBOARDS for panel in dashboard(name)["panels"] if panel["type"] == "table"):
        (transformation,) = panel["transformations"]
        row = transformation["options"]["rowField"]
        (query,) = (target["expr"] for target in panel["targets"])
        (labels,) = re.findall(rf'"{row}", " / ", ([^)]*)\)', query)
        assert {'"namespace"', '"name"'} <= set(labels.split(", ")), panel["title"]


def test_every_alert_has_its_annotations_and_a_section_in_the_documentation(root):
    sections = re.findall(r"^### (FusionRun\w+)$", (root / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        annotations = rule["annotations"]
        assert annotations["summary"], rule["alert"]
        assert annotations["description"], rule["alert"]
        assert annotations["runbook_url"] == f"docs/monitoring.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_every_alert_is_tested_to_fire_and_to_clear(root):
    tests = yaml.safe_load((root / "tests/chart/alerts.yaml").read_text())["tests"]
    cleared = set()
    for test in tests:
        fired = set()
        for case in test["alert_rule_test"]:
            name = case["alertname"]
            cleared |= {name} & fired if not case["exp_alerts"] else set()
            fired |= {name} if case["exp_alerts"] else set()
    assert cleared == {rule["alert"] for rule in rules()}
