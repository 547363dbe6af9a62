"""The queries of the dashboards and alerts, on what a Prometheus has scraped during the tests of the other modules.

The modules run in the order of their names, so this one is the last. Panels of GPUs cannot have data here.
"""

import re
import time

import pytest

from support.monitoring import DASHBOARDS, alert_queries, panel_queries, rules, variable_queries
from support.prometheus import INTERVAL, Prometheus

pytestmark = pytest.mark.cluster
OF_GPUS = re.compile("DCGM_|fusionrun_stage_gpu_cost|fusionrun_training_mfu_ratio")
"""Metrics without data on CPUs."""
QUERIES = [query for name in DASHBOARDS for query in panel_queries(name)]


@pytest.fixture(scope="module")
def scraped(prometheus: Prometheus | None) -> Prometheus:
    """Return the Prometheus after a last scrape."""
    if prometheus is None:
        pytest.skip("this machine is no node of the cluster")
    time.sleep(2 * INTERVAL)
    return prometheus


@pytest.mark.parametrize("query", [q for q in QUERIES if not OF_GPUS.search(q.expression)], ids=lambda q: q.owner)
def test_a_query_of_a_dashboard_has_data(scraped, query):
    assert scraped.graph(query.expression), query.expression


@pytest.mark.parametrize("query", [q for q in QUERIES if OF_GPUS.search(q.expression)], ids=lambda q: q.owner)
def test_a_query_of_gpus_is_valid(scraped, query):
    scraped.graph(query.expression)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_variables_of_a_dashboard_have_values(scraped, name):
    for _, query in variable_queries(name):
        (series, label) = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
        assert [found["metric"][label] for found in scraped.graph(series)], query


def test_every_alert_is_evaluated_without_an_error(scraped):
    for query in alert_queries():
        scraped.graph(query.expression)
    (group,) = scraped.ask("rules")["groups"]
    assert [(rule["name"], rule["health"]) for rule in group["rules"]] == [(rule["alert"], "ok") for rule in rules()]


def test_operators_servers_and_clients_are_scraped_with_their_run_and_stage(scraped):
    up = [series["metric"] for series in scraped.graph("up == 1")]
    assert [labels for labels in up if labels["job"].endswith("/fusionrun")]
    kinds = {labels["stage"].split("/")[0] for labels in up if labels["job"].endswith("/fusionrun-stages")}
    assert {"serve", "generate"} <= kinds
    for labels in up:
        if "stage" in labels:
            assert labels["pod"].startswith(labels["run"][:20]), labels
            assert labels["namespace"], labels
