"""The dashboard of one run or of several runs that are compared."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import annotations
from dashboards.page import numbered, page
from dashboards.panels import Builder, bars, lines, note, numbers, per
from dashboards.results import result_panels
from dashboards.servers import gpu_panels, server_panels

RUN, STAGE = "namespace, name", "namespace, name, stage"
TITLE = "{{name}} {{stage}}"
CLIENTS = 'namespace=~"$namespace",run=~"$run"'
OF_CLIENTS = "{{run}} {{stage}} {{source}}"
NEEDS_PODS = "Requires metrics.podMonitor in the chart."
COMMANDS = """\
| to see | run |
| --- | --- |
| conditions, stages and events | `kubectl -n NAMESPACE describe fr NAME` |
| logs of a stage | `kubectl -n NAMESPACE logs -l fusionrun.dev/run=NAME,fusionrun.dev/stage=KIND.SUBJECT` |
| what the run waits for | `kubectl -n NAMESPACE get fr NAME` |

docs/monitoring.md explains the metrics and alerts, docs/operations.md the reasons of conditions.
"""


def build() -> Dashboard:
    """Return the dashboard."""
    variables = {
        "namespace": "label_values(fusionrun_info, namespace)",
        "run": 'label_values(fusionrun_info{namespace=~"$namespace"}, name)',
    }
    rows = {
        "Run": _overview(),
        "Generation and judges": _generation(),
        "Model servers": server_panels(),
        "GPUs": gpu_panels(),
        "Data and training": _data() + _training(),
        "Results": result_panels(),
    }
    made = page("fusionrun", "FusionRun", "One FusionRun, or several that are compared.", variables, rows)
    return numbered(made.annotation(annotations.STARTS).annotation(annotations.ENDS).build())


def of_run(family: str, labels: str = RUN) -> str:
    """Return a query of a metric of the chosen runs."""
    return per(labels, family, annotations.RUN)


def of_stage(family: str, more: str = "") -> str:
    """Return a query of a metric of the stages of the chosen runs."""
    return of_run(family, STAGE + more)


def _overview() -> list[Builder]:
    pending = f"sum by ({RUN}) ({of_stage('fusionrun_stage_pods_pending')})"
    true = f'{annotations.RUN},status="true"'
    conditions = f"{per(f'{RUN}, condition', 'fusionrun_status_condition', true)} == 1"
    age = f"({of_run('fusionrun_completion_timestamp_seconds')} or time() * {of_run('fusionrun_info')})"
    return [
        numbers("Conditions that are true", {"{{name}}: {{condition}}": conditions}, "none", 8),
        numbers(
            "Age",
            {"{{name}}": f"{age} - {of_run('fusionrun_created_timestamp_seconds')}"},
            "s",
            4,
            "From the creation to the end.",
        ),
        numbers("GPUs in use", {"{{name}}": of_run("fusionrun_gpus_in_use")}, "none", 4),
        numbers("GPU hours", {"{{name}}": f"{of_run('fusionrun_gpu_seconds_total')} / 3600"}, "h", 4),
        numbers(
            "Cost",
            {"{{name}} {{currency}}": of_run("fusionrun_cost_total", f"{RUN}, currency")},
            "none",
            4,
            "Of GPUs and endpoints.",
        ),
        bars(
            "Progress of unfinished stages",
            {TITLE: f"{of_stage('fusionrun_stage_progress_ratio')} < 1"},
            "percentunit",
            8,
            min=0,
            max=1,
        ),
        lines("Time left by stage", {TITLE: of_stage("fusionrun_stage_eta_seconds")}, "s", 8),
        lines(
            "GPUs in use, and stages with pending pods",
            {
                "{{name}}: GPUs": of_run("fusionrun_gpus_in_use"),
                "{{name}}: stages with pending pods": pending,
            },
            "none",
            8,
        ),
        note("Commands", COMMANDS, 12),
        lines(
            "Cost by stage",
            {
                f"{TITLE} endpoint {{{{currency}}}}": of_stage("fusionrun_stage_cost", ", currency"),
                f"{TITLE} GPUs {{{{currency}}}}": of_stage("fusionrun_stage_gpu_cost", ", currency"),
            },
            "none",
            12,
            "No data without prices of endpoints or GPUs.",
        ),
    ]


def _generation() -> list[Builder]:
    def series(pattern: str) -> str:
        return f'{{__name__=~"fusionrun_{pattern}",{CLIENTS}}}'

    def client(suffix: str) -> str:
        return series(f"(generate|judge)_{suffix}")

    stored = series("(generate_samples|judge_judgements)_total")
    requests = f"sum by (run, stage, source, code) (rate({client('requests_total')}[$__rate_interval])) > 0"
    rows = f"sum by (run, stage, source, finish_reason) (rate({stored}[$__rate_interval]))"
    return [
        lines("Tokens per second", {TITLE: of_stage("fusionrun_stage_tokens_per_second")}, "none", 8),
        lines(
            "Requests of the clients",
            {f"{OF_CLIENTS} {{{{code}}}}": requests},
            "reqps",
            8,
            f"By HTTP status. 0 means no reply. {NEEDS_PODS}",
        ),
        lines(
            "Stored responses and judgements",
            {f"{OF_CLIENTS} {{{{finish_reason}}}}": rows},
            "cps",
            8,
            f"By finish reason. {NEEDS_PODS}",
        ),
        lines(
            "Request slots of the clients",
            {f"{OF_CLIENTS} {{{{state}}}}": f"sum by (run, stage, source, state) ({client('slots')})"},
            "none",
            12,
            f"Requests in flight and their limit. {NEEDS_PODS}",
        ),
        lines(
            "Quota left of endpoints",
            {f"{OF_CLIENTS} {{{{limit}}}}": f"avg by (run, stage, source, limit) ({client('quota_left_ratio')})"},
            "percentunit",
            12,
            f"Part of endpoint.quota that is not used up. No data without a quota. {NEEDS_PODS}",
            min=0,
            max=1,
        ),
    ]


def _data() -> list[Builder]:
    return [
        bars("SFT rows and pairs", {"{{name}} {{kind}}": of_run("fusionrun_dataset_rows", f"{RUN}, kind")}, "none", 6),
        bars(
            "Dropped prompts by reason",
            {"{{name}} {{reason}}": of_run("fusionrun_dataset_dropped_prompts", f"{RUN}, reason")},
            "none",
            6,
        ),
        bars(
            "SFT rows and pairs by source",
            {"{{name}} {{source}} {{kind}}": of_run("fusionrun_dataset_source_rows", f"{RUN}, source, kind")},
            "none",
            6,
        ),
        bars(
            "Win rate by source",
            {"{{name}} {{source}}": of_run("fusionrun_dataset_win_ratio", f"{RUN}, source")},
            "percentunit",
            6,
            "Share of prompts with responses of several sources for which this source gave the best usable one.",
            min=0,
            max=1,
        ),
        bars(
            "Truncated responses",
            {"{{name}}": of_run("fusionrun_dataset_truncated_ratio")},
            "percentunit",
            6,
            "Share of responses that reached the token limit, which are not used. If high, raise sampling.maxTokens.",
            min=0,
            max=1,
        ),
        bars(
            "Mean margin of pairs",
            {"{{name}}": of_run("fusionrun_dataset_margin_mean")},
            "none",
            6,
            "On the scale of the reward model. Coding pairs have no margin and are excluded.",
        ),
        bars("Peak memory of a pod by stage", {TITLE: of_stage("fusionrun_stage_peak_memory_bytes")}, "bytes", 12),
    ]


def _training() -> list[Builder]:
    return [
        lines("Training loss", {TITLE: of_stage("fusionrun_training_loss")}, "none", 8, "While the stage runs."),
        bars(
            "Final loss",
            {TITLE: of_stage("fusionrun_training_final_loss")},
            "none",
            4,
            "The last loss; of promote, that on the held-out pairs.",
        ),
        lines("Reward accuracy", {TITLE: of_stage("fusionrun_reward_accuracy_ratio")}, "percentunit", 8, min=0, max=1),
        bars(
            "Final reward accuracy",
            {TITLE: of_stage("fusionrun_reward_final_accuracy_ratio")},
            "percentunit",
            4,
            min=0,
            max=1,
        ),
        lines(
            "Reward margin",
            {TITLE: of_stage("fusionrun_reward_margin")},
            "none",
            8,
            "Mean difference of the rewards of chosen and rejected responses in the last step of DPO.",
        ),
        lines(
            "Gradient norm",
            {TITLE: of_stage("fusionrun_training_gradient_norm")},
            "none",
            8,
            "In the last step, before it is clipped.",
            min=0,
        ),
        lines(
            "Model FLOPs utilisation",
            {TITLE: of_stage("fusionrun_training_mfu_ratio")},
            "percentunit",
            8,
            "Share of the GPUs' peak bf16 FLOP/s that the model's arithmetic uses. No data on CPUs and unknown GPUs.",
            min=0,
            max=1,
        ),
    ]
