"""The panels of vLLM and of GPUs.

Sources: vLLM, v1/metrics/loggers.py (0.32); NVIDIA, dcgm-exporter, etc/default-counters.csv.
"""

from dashboards.panels import Builder, lines

POD = 'namespace=~"$namespace",run=~"$run"'
TITLE = "{{run}} {{stage}}"
NEEDS_PODS = "Requires metrics.podMonitor in the chart."


def server_panels() -> list[Builder]:
    """Return the panels of vLLM. Servers with trustRemoteCode are not scraped."""

    def by_stage(how: str, query: str, more: str = "") -> str:
        return f"{how} by (namespace, run, stage{more}) ({query})"

    def rate(family: str) -> str:
        return f"rate({family}{{{POD}}}[$__rate_interval])"

    first = by_stage("sum", rate("vllm:time_to_first_token_seconds_bucket"), ", le")
    hits, queries = (by_stage("sum", rate(f"vllm:prefix_cache_{name}_total")) for name in ("hits", "queries"))
    return [
        lines(
            "Requests of the servers",
            {
                f"{TITLE} running": by_stage("sum", f"vllm:num_requests_running{{{POD}}}"),
                f"{TITLE} waiting": by_stage("sum", f"vllm:num_requests_waiting{{{POD}}}"),
            },
            "none",
            8,
            f"In the batch, and in the queue of vLLM. {NEEDS_PODS}",
        ),
        lines(
            "KV cache in use",
            {TITLE: by_stage("max", f"vllm:kv_cache_usage_perc{{{POD}}}")},
            "percentunit",
            8,
            f"Of the fullest replica. {NEEDS_PODS}",
            min=0,
            max=1,
        ),
        lines(
            "Generated tokens per second of the servers",
            {TITLE: by_stage("sum", rate("vllm:generation_tokens_total"))},
            "none",
            8,
            NEEDS_PODS,
        ),
        lines(
            "Time to first token",
            {
                f"{TITLE} median": f"histogram_quantile(0.5, {first})",
                f"{TITLE} 99th percentile": f"histogram_quantile(0.99, {first})",
            },
            "s",
            8,
            NEEDS_PODS,
        ),
        lines(
            "Preemptions per second",
            {TITLE: by_stage("sum", rate("vllm:num_preemptions_total"))},
            "cps",
            8,
            f"Requests that the KV cache had no space for. {NEEDS_PODS}",
        ),
        lines(
            "Prefix cache hits",
            {TITLE: f"{hits} / {queries}"},
            "percentunit",
            8,
            f"Share of prompt tokens. {NEEDS_PODS}",
            min=0,
            max=1,
        ),
    ]


def gpu_panels() -> list[Builder]:
    """Return the panels of dcgm-exporter, whose labels of the pod depend on ``honorLabels``. Never run on a GPU."""

    def of_pods(family: str) -> dict[str, str]:
        return {
            "{{exported_pod}} GPU {{gpu}}": f'{family}{{exported_namespace=~"$namespace",exported_pod=~"($run)-.+"}}',
            "{{pod}} GPU {{gpu}}": f'{family}{{exported_pod="",namespace=~"$namespace",pod=~"($run)-.+"}}',
        }

    needs = "Requires dcgm-exporter with the labels of pods."
    return [
        lines(
            "GPU utilisation",
            of_pods("DCGM_FI_DEV_GPU_UTIL"),
            "percent",
            8,
            f"Of the GPUs that pods of the run hold. {needs}",
            min=0,
            max=100,
        ),
        lines("GPU memory", of_pods("DCGM_FI_DEV_FB_USED"), "decmbytes", 8, needs, min=0),
        lines("GPU power", of_pods("DCGM_FI_DEV_POWER_USAGE"), "watt", 8, needs, min=0),
    ]
