"""The benchmark of many runs: runs complete with the simulated results, and the figures follow from the timeline."""

import math

import analysis
import figures
import pytest
from shapes import SHAPES, Workload
from timeline import Timeline

from fusionrun.api.result import decode_result
from support.runs import UID
from support.world import World


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_completes_with_the_simulated_results(shape):
    workload = Workload(shape, 1, "test")
    script = workload.script()
    (run,) = workload.manifests()
    run["metadata"] |= {"namespace": "lab", "uid": UID, "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z"}
    world = World(run, answer=lambda _, task: decode_result(script[task.stage]["message"]))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert len(world.status.stages) == workload.stages


def seen(t: float, kind: str, what: str, stage: str = "", run: str = "a", **more) -> dict:
    return {"t": t, "kind": kind, "what": what, "run": run, "stage": stage, "name": f"{run}-{stage}", **more}


TIMELINE = [
    seen(0, "FusionRun", "created"),
    seen(1, "Job", "created", "resolve"),
    seen(1.5, "Pod", "bound", "resolve"),
    seen(4, "Job", "complete", "resolve"),
    seen(4.5, "Deployment", "created", "serve/x"),
    seen(7, "Deployment", "ready", "serve/x"),
    seen(7.25, "Job", "created", "generate/x"),
    seen(9, "Job", "complete", "generate/x"),
    seen(9.5, "Job", "created", "publish"),
    seen(20, "Job", "created", "publish", name="a-publish-r1"),
    seen(21, "Job", "complete", "publish"),
    seen(22, "FusionRun", "complete"),
    seen(3, "Job", "created", "resolve", run="other"),
    seen(5, "FusionRun", "failed", run="b"),
]
NEEDS = {"generate/x": ("resolve", "serve/x"), "publish": ("generate/x",)}


def test_the_figures_of_a_timeline():
    runs = ["a", "b"]
    assert analysis.outcomes(TIMELINE, runs) == {"a": ("complete", 22), "b": ("failed", 5)}
    assert len(analysis.ended_stages(TIMELINE, runs)) == 4
    assert analysis.needless_attempts(TIMELINE, runs) == 1
    assert analysis.follow_ups(TIMELINE, runs, NEEDS) == [0.25, 0.5]


def test_a_state_is_recorded_once_and_pytorchjobs_are_complete_when_they_have_succeeded(tmp_path):
    timeline = Timeline(tmp_path / "timeline.jsonl")
    observe = timeline.observer("PyTorchJob")
    labels = {"fusionrun.dev/run": "a", "fusionrun.dev/stage": "sft", "fusionrun.dev/attempt": "1"}
    job = {"metadata": {"name": "a-sft-1", "uid": "u", "labels": labels}}
    succeeded = job | {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}
    for change, manifest in (("ADDED", job), ("MODIFIED", job), ("MODIFIED", succeeded), ("DELETED", succeeded)):
        observe(change, manifest)
    assert [e["what"] for e in timeline.entries] == ["created", "complete", "deleted"]
    expected = {"kind": "PyTorchJob", "name": "a-sft-1", "run": "a", "stage": "sft", "attempt": "1"}
    assert all(entry.items() >= expected.items() for entry in timeline.entries)
    assert len((tmp_path / "timeline.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([3], 99, 3), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 101), 100, 100)],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert analysis.percentile(values, percent) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0), (0.25, 0.5), (0.75, 2.0), (0.99, math.inf)])
def test_a_quantile_is_interpolated_as_prometheus_does(share, expected):
    buckets = {'h_bucket{le="1.0"}': 2.0, 'h_bucket{le="3.0"}': 4 - 0.0, 'h_bucket{le="+Inf"}': 4.0}
    if math.isinf(expected):
        buckets['h_bucket{le="+Inf"}'] = 5.0
    assert analysis.quantile(buckets, "h", share) == expected


def test_refused_requests_are_404_and_409():
    increase = {
        f'fusionrun_api_requests_total{{code="{code}",kind="Job",verb="create"}}': number
        for code, number in (("201", 10), ("404", 2), ("409", 3), ("500", 1))
    } | {"process_cpu_seconds_total{}": 7}
    assert analysis.requests(increase) == (16, 5)


def test_a_table_has_a_column_for_each_measurement(tmp_path):
    measured = figures.Figures(
        shape="tiny", runs=50, complete=0, failed=0, finished_median=None, finished_last=None, stages=1750,
        stages_ended=1050, needless_attempts=185, cpu_seconds=48.3, rss_start=87, rss_max=251, rss_settled=None,
        memory_peak=256, rss_restarted=None, restart_seconds=None, restart_peak=None, requests=5985, refused=700,
        follow_up=(13.7, 23, 25), transition=(2.4, math.inf), events=0, event_delay=(None, None),
        restarts=("OOMKilled", "Error"), kubelet_delay=0.5,
    )  # fmt: skip
    figures.save(measured, tmp_path / "figures.json")
    lines = figures.table([measured, figures.read(tmp_path / "figures.json")]).splitlines()
    assert lines[0] == "|  | 50 tiny | 50 tiny |"
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1] for line in lines}
    assert rows["all finished after"] == "never"
    assert rows["operator's CPU time; per stage"] == "48.3 s; 46 ms"
    assert rows["operator's restarts, of these OOM kills"] == "2, 1"
    assert {line.count(" | ") for line in lines[2:]} == {2}
