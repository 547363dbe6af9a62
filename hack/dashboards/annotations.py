"""Marks at the times at which stages start and end."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from dashboards.panels import SOURCE, per


class PrometheusAnnotation(AnnotationQuery):
    """An annotation query with the fields of the Prometheus data source, which the schema of dashboards lacks.

    Source: Grafana, public/app/plugins/datasource/prometheus, ``PromAnnotationQuery``.
    """

    title_format: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the JSON fields. The value of a series is the time of its mark in milliseconds."""
        return super().to_json() | {"titleFormat": self.title_format, "useValueForTime": True}


class StageTimes(Builder[AnnotationQuery]):
    """Builds the annotation of a metric with timestamps of stages."""

    def __init__(self, name: str, colour: str, labels: str, query: str, title: str) -> None:
        self._made = PrometheusAnnotation(
            name=name, datasource=SOURCE, enable=True, icon_color=colour, expr=f"1000 * {per(labels, query, RUN)}"
        )
        self._made.title_format = title

    def build(self) -> AnnotationQuery:
        """Return the query."""
        return self._made


RUN = 'namespace=~"$namespace",name=~"$run"'
STARTS = StageTimes(
    "Stage starts",
    "blue",
    "namespace, name, stage",
    "fusionrun_stage_start_timestamp_seconds",
    "{{name}} {{stage}} starts",
)
ENDS = StageTimes(
    "Stage ends",
    "purple",
    "namespace, name, stage, state",
    "fusionrun_stage_end_timestamp_seconds",
    "{{name}} {{stage}}: {{state}}",
)
