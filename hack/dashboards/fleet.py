"""The dashboard of all runs and of the operator."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.operator_panels import operator_panels
from dashboards.page import numbered, page
from dashboards.panels import bars, lines, matrix, numbers, per

NAMESPACE = 'namespace=~"$namespace"'
RUN = "namespace, name"
TITLE = "{{namespace}}/{{name}}"


def build() -> Dashboard:
    """Return the dashboard."""
    runs = f"sum by (state) ({per('namespace, state', 'fusionrun_runs', NAMESPACE)})"
    stages = f"sum by (state) ({per('namespace, kind, state', 'fusionrun_stages', NAMESPACE)})"
    hours = f"sum(max by ({RUN}) (max_over_time(fusionrun_gpu_seconds_total{{{NAMESPACE}}}[$__range]))) / 3600"
    cost = (
        f"sum by (currency) (max by ({RUN}, currency) (max_over_time(fusionrun_cost_total{{{NAMESPACE}}}[$__range])))"
    )
    in_use, pending = (
        per(labels, family, NAMESPACE)
        for labels, family in ((RUN, "fusionrun_gpus_in_use"), (f"{RUN}, stage", "fusionrun_stage_pods_pending"))
    )
    conditions = per(f"{RUN}, condition", "fusionrun_status_condition", f'{NAMESPACE},status="true"')
    made = page(
        "fusionrun-fleet",
        "FusionRun: all runs",
        "All FusionRuns of some namespaces, and the operator. docs/monitoring.md explains the metrics and alerts.",
        {"namespace": "label_values(fusionrun_info, namespace)"},
        {
            "Runs": [
                numbers("Runs by state", {"{{state}}": runs}, "none", 8),
                bars("Stages by state", {"{{state}}": stages}, "none", 6),
                numbers("GPUs in use", {"GPUs": f"sum({in_use})"}, "none", 3),
                numbers(
                    "GPU hours", {"hours": hours}, "h", 3, "Of all runs that existed in the time range, also before it."
                ),
                numbers(
                    "Cost",
                    {"{{currency}}": cost},
                    "none",
                    4,
                    "Of all runs that existed in the time range, also before it.",
                ),
                lines("GPUs in use by run", {TITLE: in_use}, "none", 12),
                lines("Stages with pending pods by run", {TITLE: f"sum by ({RUN}) ({pending})"}, "none", 12),
                matrix(
                    "Conditions of the runs",
                    f'label_join({conditions}, "run", " / ", "namespace", "name")',
                    "run",
                    "condition",
                    24,
                    "1: true, 0: false or unknown.",
                ),
            ],
            "Operator": operator_panels(),
        },
    )
    return numbered(made.build())
