"""The panels of the operator itself."""

from collections.abc import Sequence

from dashboards.panels import Builder, lines, numbers


def operator_panels() -> Sequence[Builder]:
    """Return the panels."""
    return (
        numbers(
            "Version",
            {"{{version}}": "count by (version) (fusionrun_build_info)"},
            "none",
            6,
            "Number of operators by version.",
        ),
        numbers(
            "Acting operators",
            {"acting": "sum(fusionrun_leader)"},
            "none",
            6,
            "1, also with several replicas: the holder of the Lease acts.",
        ),
        lines(
            "Resident memory",
            {"{{pod}}": "process_resident_memory_bytes and on (job, instance) fusionrun_build_info"},
            "bytes",
            12,
        ),
        lines("Transition time (watch event to next object)", _quantiles("fusionrun_transition_seconds"), "s", 8),
        lines("Reconcile duration", _quantiles("fusionrun_reconcile_duration_seconds"), "s", 8),
        lines(
            "Reconciles per second",
            {"{{result}}": "sum by (result) (rate(fusionrun_reconcile_duration_seconds_count[$__rate_interval]))"},
            "ops",
            8,
        ),
        lines(
            "API server requests",
            {"{{verb}} {{code}}": "sum by (verb, code) (rate(fusionrun_api_requests_total[$__rate_interval]))"},
            "reqps",
            8,
        ),
        lines(
            "API server latency, 99th percentile",
            {
                "{{verb}}": "histogram_quantile(0.99, sum by (le, verb)"
                " (rate(fusionrun_api_request_duration_seconds_bucket[$__rate_interval])))"
            },
            "s",
            8,
        ),
        lines(
            "Progress pushed by pods",
            {"{{code}}": "sum by (code) (rate(fusionrun_progress_pushes_total[$__rate_interval]))"},
            "reqps",
            8,
            "Requests per second by HTTP status of the reply.",
        ),
        lines(
            "Stage duration in the time range, median",
            {
                "{{kind}}": "histogram_quantile(0.5,"
                " sum by (le, kind) (increase(fusionrun_stage_duration_seconds_bucket[$__range]))"
                " and on (kind) sum by (kind) (increase(fusionrun_stage_duration_seconds_count[$__range])) > 0)"
            },
            "s",
            12,
            "By kind of stage, of those that ended in the time range.",
        ),
        lines(
            "Time since the last watch event",
            {"{{kind}}": "time() - max by (kind) (fusionrun_watch_last_event_timestamp_seconds)"},
            "s",
            12,
        ),
    )


def _quantiles(histogram: str) -> dict[str, str]:
    buckets = f"sum by (le) (rate({histogram}_bucket[$__rate_interval]))"
    return {
        "median": f"histogram_quantile(0.5, {buckets})",
        "99th percentile": f"histogram_quantile(0.99, {buckets})",
    }
