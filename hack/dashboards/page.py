"""What both dashboards share: the data source, the variables, links, and the numbers of panels."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panels import SOURCE, Builder

TAG = "fusionrun"
Rows = Mapping[str, Sequence[Builder]]


def page(uid: str, title: str, description: str, variables: dict[str, str], rows: Rows) -> Dashboard:
    """Return a dashboard. ``variables`` are queries by name, ``rows`` the panels by the title of their row."""
    made = (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, "llm"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .link(DashboardLink("Dashboards").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True))
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for name, query in variables.items():
        made.with_variable(_variable(name, query))
    for row, panels in rows.items():
        made.with_row(Row(row))
        for panel in panels:
            made.with_panel(panel)
    return made


def numbered(made: models.Dashboard) -> models.Dashboard:
    """Return a dashboard whose panels have numbers in their order."""
    for number, panel in enumerate(made.panels or (), 1):
        panel.id_val = number
    return made


def _variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )
