import pytest
from prometheus_client import generate_latest

from fusionrun import __version__
from fusionrun.api.status.run import read_status
from fusionrun.metrics import Metrics
from fusionrun.names import API_VERSION, KIND
from fusionrun.run_metrics import run_state


def run(name="tiny", namespace="demo", **status):
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"target": {"family": "Llama3"}},
        "status": status,
    }


def scrape(metrics):
    return generate_latest(metrics.registry).decode()


def condition(kind):
    return {"type": kind, "status": "True", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}


GENERATE = {"progress": {"done": 3, "total": 4}, "tokensPerSecond": 240.0, "etaSeconds": 60, "costMicro": 2_500_000}
TRAINING = {
    "loss": 0.5,
    "rewardAccuracy": 0.75,
    "rewardMargin": 0.25,
    "gradientNorm": 1.5,
    "modelFlopsUtilization": 0.4,
    "tokensPerSecond": 90.0,
}
STARTED = {"startTime": "2026-01-01T00:00:00Z"}
ENDED = STARTED | {"endTime": "2026-01-01T00:01:30Z"}
STATUS = {
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T01:00:00Z",
    "stages": [
        {"name": "generate/qwen", "state": "Running", "reason": "PodsPending", **GENERATE},
        {"name": "serve/qwen", "state": "Ready", "reason": "ServerReady", "gpuCostMicro": 4_000_000},
        {"name": "serve/llama", "state": "Running", "reason": "Queued"},
        {"name": "serve/scaled", "state": "Running", "reason": "ObjectChanged"},
        {"name": "serve/changed", "state": "Ready", "reason": "ObjectChanged"},
        {"name": "fetch/qwen", "state": "Waiting", "reason": "WaitingForArtifact"},
        {"name": "sft", "state": "Succeeded", "peakMemoryBytes": 1000, **TRAINING, **ENDED},
        {"name": "dpo", "state": "Running", **TRAINING, **STARTED},
    ],
    "gpusInUse": 4,
    "gpuSeconds": 7200,
    "costMicro": 6_500_000,
    "results": [
        {"benchmark": "gsm8k", "base": 10.0, "final": 40.0},
        {
            "benchmark": "mt-bench",
            "unit": "Rating",
            "final": 7.5,
            "scores": [{"model": "final", "score": 7.5, "lower": 7.0}, {"model": "other", "score": 5.0}],
            "differences": [{"model": "final", "against": "base", "delta": 0.5, "lower": 0.1, "upper": 0.9}],
        },
    ],
    "dataset": {
        "sftRows": 100,
        "pairs": 50,
        "drops": {"margin": 3},
        "truncatedShare": 0.125,
        "meanMargin": 0.04,
        "bySource": [{"source": "ada", "sftRows": 7, "pairs": 5, "winRate": 0.5}],
    },
    "conditions": [condition("Ready")],
}


def test_the_numbers_of_a_run_are_read_from_its_status():
    text = scrape(Metrics(lambda: [run(**STATUS), run(namespace="other")], "EUR"))
    me = 'name="tiny",namespace="demo"'
    for line in (
        'fusionrun_runs{namespace="demo",state="Running"} 1.0',
        'fusionrun_runs{namespace="demo",state="Failed"} 0.0',
        'fusionrun_runs{namespace="other",state="Pending"} 1.0',
        'fusionrun_stages{kind="generate",namespace="demo",state="Running"} 1.0',
        f"fusionrun_completion_timestamp_seconds{{{me}}} 1.7672292e+09",
        f'fusionrun_stage_start_timestamp_seconds{{{me},stage="dpo"}} 1.7672256e+09',
        f'fusionrun_stage_end_timestamp_seconds{{{me},stage="sft",state="Succeeded"}} 1.76722569e+09',
        f'fusionrun_stage_pods_pending{{{me},stage="generate/qwen"}} 1.0',
        f'fusionrun_stage_pods_pending{{{me},stage="serve/qwen"}} 0.0',
        f'fusionrun_stage_pods_pending{{{me},stage="serve/llama"}} 1.0',
        f'fusionrun_stage_pods_pending{{{me},stage="serve/scaled"}} 1.0',
        f'fusionrun_stage_pods_pending{{{me},stage="serve/changed"}} 0.0',
        f'fusionrun_stage_pods_pending{{{me},stage="fetch/qwen"}} 0.0',
        f'fusionrun_stage_progress_ratio{{{me},stage="generate/qwen"}} 0.75',
        f'fusionrun_stage_tokens_per_second{{{me},stage="generate/qwen"}} 240.0',
        f'fusionrun_stage_cost{{currency="EUR",{me},stage="generate/qwen"}} 2.5',
        f'fusionrun_training_loss{{{me},stage="dpo"}} 0.5',
        f'fusionrun_training_final_loss{{{me},stage="sft"}} 0.5',
        f'fusionrun_reward_accuracy_ratio{{{me},stage="dpo"}} 0.75',
        f'fusionrun_reward_final_accuracy_ratio{{{me},stage="sft"}} 0.75',
        f'fusionrun_reward_margin{{{me},stage="dpo"}} 0.25',
        f'fusionrun_training_gradient_norm{{{me},stage="dpo"}} 1.5',
        f'fusionrun_training_mfu_ratio{{{me},stage="dpo"}} 0.4',
        f'fusionrun_stage_peak_memory_bytes{{{me},stage="sft"}} 1000.0',
        f'fusionrun_benchmark_score{{benchmark="gsm8k",model="final",{me},unit="Percent"}} 40.0',
        f'fusionrun_benchmark_score{{benchmark="mt-bench",model="final",{me},unit="Rating"}} 7.5',
        f'fusionrun_benchmark_score{{benchmark="mt-bench",model="other",{me},unit="Rating"}} 5.0',
        f'fusionrun_benchmark_score_bound{{benchmark="mt-bench",bound="lower",model="final",{me},unit="Rating"}} 7.0',
        f'fusionrun_benchmark_delta{{against="base",benchmark="mt-bench",model="final",{me},unit="Rating"}} 0.5',
        f'fusionrun_dataset_rows{{kind="sft",{me}}} 100.0',
        f'fusionrun_dataset_dropped_prompts{{{me},reason="margin"}} 3.0',
        f"fusionrun_dataset_truncated_ratio{{{me}}} 0.125",
        f"fusionrun_dataset_margin_mean{{{me}}} 0.04",
        f'fusionrun_dataset_source_rows{{kind="sft",{me},source="ada"}} 7.0',
        f'fusionrun_dataset_win_ratio{{{me},source="ada"}} 0.5',
        f"fusionrun_gpus_in_use{{{me}}} 4.0",
        f"fusionrun_gpu_seconds_total{{{me}}} 7200.0",
        f'fusionrun_cost_total{{currency="EUR",{me}}} 6.5',
        f'fusionrun_stage_gpu_cost{{currency="EUR",{me},stage="serve/qwen"}} 4.0',
        f'fusionrun_status_condition{{condition="Ready",{me},status="true"}} 1.0',
        f'fusionrun_status_condition{{condition="Ready",{me},status="false"}} 0.0',
    ):
        assert line in text, line
    # What pods pushed last is no longer true when the stage has ended.
    of_ended = {line.split("{")[0] for line in text.splitlines() if 'stage="sft"' in line}
    assert of_ended == {
        "fusionrun_stage_start_timestamp_seconds",
        "fusionrun_stage_end_timestamp_seconds",
        "fusionrun_stage_peak_memory_bytes",
        "fusionrun_training_final_loss",
        "fusionrun_reward_final_accuracy_ratio",
    }
    assert 'fusionrun_training_final_loss{name="tiny",namespace="demo",stage="dpo"}' not in text


def test_a_deleted_run_leaves_no_series():
    runs = [run(stages=[{"name": "sft", "state": "Running", "loss": 1.0}])]
    metrics = Metrics(lambda: runs)
    assert 'name="tiny"' in scrape(metrics)
    runs.clear()
    assert 'name="tiny"' not in scrape(metrics)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "Pending"),
        ({"startTime": "2026-01-01T00:00:00Z"}, "Running"),
        ({"startTime": "2026-01-01T00:00:00Z", "conditions": [condition("Suspended")]}, "Suspended"),
        (
            {"startTime": "2026-01-01T00:00:00Z", "conditions": [condition("Finished"), condition("Complete")]},
            "Complete",
        ),
        ({"startTime": "2026-01-01T00:00:00Z", "conditions": [condition("Finished"), condition("Failed")]}, "Failed"),
    ],
)
def test_a_run_is_in_one_state(status, state):
    assert run_state(read_status(status)) == state


def test_the_duration_of_a_stage_is_observed_once_when_it_ends():
    metrics = Metrics(list)
    stage = {"name": "generate/qwen", "state": "Running", "startTime": "2026-01-01T00:00:00Z"}
    running = read_status({"stages": [stage]})
    ended = read_status({"stages": [stage | {"state": "Succeeded", "endTime": "2026-01-01T00:01:30Z"}]})
    metrics.status_changed(running, ended)
    metrics.status_changed(ended, ended)
    text = scrape(metrics)
    assert 'fusionrun_stage_duration_seconds_sum{kind="generate",state="Succeeded"} 90.0' in text
    assert 'fusionrun_stage_duration_seconds_count{kind="generate",state="Succeeded"} 1.0' in text


def test_the_first_event_is_an_increase():
    text = scrape(Metrics(list))
    for series in (
        'fusionrun_stage_duration_seconds_count{kind="sft",state="Succeeded"}',
        'fusionrun_stage_duration_seconds_count{kind="publish",state="Failed"}',
        'fusionrun_reconcile_duration_seconds_count{result="error"}',
        'fusionrun_progress_pushes_total{code="403"}',
        "fusionrun_transition_seconds_count",
    ):
        assert f"{series} 0.0" in text


def test_the_version_is_exported_without_runs():
    assert f'fusionrun_build_info{{version="{__version__}"}} 1.0' in scrape(Metrics(list))


def test_requests_are_counted_by_verb_kind_and_code():
    metrics = Metrics(list)
    metrics.request_sent("create", "Job", 201, 0.004)
    assert 'fusionrun_api_requests_total{code="201",kind="Job",verb="create"} 1.0' in scrape(metrics)
    assert "process_resident_memory_bytes" in scrape(metrics)


def test_a_status_is_parsed_once_per_version(monkeypatch):
    parsed = []
    monkeypatch.setattr(
        "fusionrun.run_metrics.read_status", lambda status: parsed.append(status) or read_status(status)
    )
    tiny = run(gpusInUse=4)
    tiny["metadata"]["resourceVersion"] = "1"
    metrics = Metrics(lambda: [tiny])
    scrape(metrics)
    parsed.clear()
    scrape(metrics)
    assert parsed == []
    tiny["metadata"]["resourceVersion"], tiny["status"] = "2", {"gpusInUse": 5}
    assert 'fusionrun_gpus_in_use{name="tiny",namespace="demo"} 5.0' in scrape(metrics)


def test_conditions_of_other_controllers_are_exported():
    text = scrape(Metrics(lambda: [run(conditions=[condition("Approved")])]))
    assert 'condition="Approved",name="tiny",namespace="demo",status="true"} 1.0' in text
