"""Panels with Prometheus queries: one function for each type."""

from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.builder import Builder as SdkBuilder
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
Builder = SdkBuilder[models.Panel]
Queries = dict[str, str]
"""Expressions by the legend of their series."""
HEIGHT = 8


def per(labels: str, family: str, matchers: str) -> str:
    """Return a query of a metric of runs without the labels of the target, which change with the operator's pod."""
    return f"max by ({labels}) ({family}{{{matchers}}})"


def lines(title: str, queries: Queries, unit: str, width: int, description: str = "", **limits: float) -> Builder:
    """Return a graph over time."""
    panel = (
        timeseries.Panel()
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(choices.LegendDisplayMode.LIST)
            .placement(choices.LegendPlacement.BOTTOM)
        )
    )
    return _with(panel, title, queries, unit, width, description, limits)


def numbers(title: str, queries: Queries, unit: str, width: int, description: str = "") -> Builder:
    """Return the latest values as large numbers."""
    panel = stat.Panel().reduce_options(_last())
    return _with(panel, title, queries, unit, width, description, {})


def bars(title: str, queries: Queries, unit: str, width: int, description: str = "", **limits: float) -> Builder:
    """Return the current values as horizontal bars."""
    panel = (
        bargauge.Panel()
        .orientation(choices.VizOrientation.HORIZONTAL)
        .display_mode(choices.BarGaugeDisplayMode.GRADIENT)
        .reduce_options(_last())
    )
    return _with(panel, title, queries, unit, width, description, limits, instant=True)


def matrix(title: str, query: str, rows: str, columns: str, width: int, description: str = "") -> Builder:
    """Return a table of current values. ``rows`` and ``columns`` are labels whose values name them.

    ``groupingToMatrix`` keeps one value per cell, so the label of the rows must name the run.
    """
    options = {"rowField": rows, "columnField": columns, "valueField": "Value"}
    panel = table.Panel().with_transformation(models.DataTransformerConfig("groupingToMatrix", options=options))
    return _with(panel, title, {"": query}, "none", width, description, {}, instant=True, form=PromQueryFormat.TABLE)


def note(title: str, content: str, width: int) -> Builder:
    """Return a text in Markdown."""
    return text.Panel().title(title).content(content).span(width).height(HEIGHT)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _with(
    panel: Any,
    title: str,
    queries: Queries,
    unit: str,
    width: int,
    description: str,
    limits: dict[str, float],
    *,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> Builder:
    panel.title(title).datasource(SOURCE).unit(unit).span(width).height(HEIGHT)
    if description:
        panel.description(description)
    for name, value in limits.items():
        getattr(panel, name)(value)
    for letter, (legend, expression) in zip("ABCDEF", queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(expression).datasource(SOURCE).format(form)
        query = query.instant() if instant else query.range()
        panel.with_target(query.legend_format(legend) if legend else query)
    made: Builder = panel
    return made
