"""The benchmark of many runs: runs complete with the simulated results, and the figures follow from the timeline."""

import analysis
import figures
import pytest
from argo_workflow import workflow
from shapes import SHAPES, Workload
from timeline import Timeline

from fusionrun.api.results.result import decode_result
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


@pytest.mark.parametrize("shape", ["evaluate", "tiny"])
def test_an_argo_workflow_runs_each_stage_after_those_that_the_plan_requires(shape):
    plan = Workload(shape, 1, "test").plan
    spec = workflow("a", plan)["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    needs: dict[str, set[str]] = {}

    def visit(name: str, outer: set[str]) -> None:
        """Collect the needs of each pod: those of its task and of the DAGs around it."""
        for task in templates[name].get("dag", {}).get("tasks", ()):
            waits = outer | set(task.get("depends", "").split(" && ")) - {""}
            if "dag" not in templates[task["template"]]:
                needs[task["template"]] = waits
            visit(task["template"], waits)

    visit(spec["entrypoint"], set())
    slugs = {stage.name: stage.name.replace("/", "-").replace(".", "-") for stage in plan.stages}
    for stage in plan.stages:
        # A server and its client wait for the needs of both: without its client, a server would only hold GPUs.
        client = plan.client_of(stage) if stage.traits.is_server else stage
        server = plan[client.server] if client.server else client
        expected = {*client.needs, *server.needs} | ({stage.server} if stage.server else set())
        assert needs.pop(slugs[stage.name]) == {slugs[name] for name in expected}
        assert templates[slugs[stage.name]].get("daemon", False) == stage.traits.is_server
    assert needs == {}


def seen(t: float, kind: str, what: str, stage: str = "", run: str = "a", **more) -> dict:
    return {"t": t, "kind": kind, "what": what, "run": run, "stage": stage, "name": f"{run}-{stage}", **more}


TIMELINE = [
    seen(0, "FusionRun", "created"),
    seen(1, "Job", "created", "resolve"),
    seen(1.25, "Pod", "created", "resolve"),
    seen(1.5, "Pod", "bound", "resolve"),
    seen(3, "Pod", "succeeded", "resolve"),
    seen(4, "Job", "complete", "resolve"),
    seen(4.5, "Deployment", "created", "serve/x"),
    seen(5, "Pod", "created", "serve/x"),
    seen(6.5, "Pod", "ready", "serve/x"),
    seen(7, "Deployment", "ready", "serve/x"),
    seen(7.25, "Job", "created", "generate/x"),
    seen(7.5, "Pod", "created", "generate/x"),
    seen(7.75, "Pod", "created", "generate/x", name="a-generate/x-1"),
    seen(8, "Pod", "succeeded", "generate/x"),
    seen(8.5, "Pod", "succeeded", "generate/x", name="a-generate/x-1"),
    seen(9, "Job", "complete", "generate/x"),
    seen(9.25, "Pod", "succeeded", "serve/x"),
    seen(9.5, "Job", "created", "publish"),
    seen(10, "Pod", "created", "publish"),
    seen(21, "Job", "complete", "publish"),
    seen(22, "FusionRun", "complete"),
    seen(3, "Job", "created", "resolve", run="other"),
    seen(4, "Workflow", "created", run="b"),
    seen(5, "Workflow", "failed", run="b"),
]
NEEDS = {"generate/x": ("resolve", "serve/x"), "publish": ("generate/x",)}


def test_the_figures_of_a_timeline():
    runs = ["a", "b"]
    assert analysis.outcomes(TIMELINE, runs) == {"a": ("complete", 22), "b": ("failed", 5)}
    assert analysis.durations(TIMELINE, runs) == [22, 1]
    assert analysis.created_pods(TIMELINE, runs) == 5
    assert len(analysis.ended_stages(TIMELINE, runs)) == 3
    assert analysis.follow_ups(TIMELINE, runs, NEEDS, ("Job", "Deployment")) == [0.75, 1.0]
    assert analysis.follow_ups(TIMELINE, runs, NEEDS) == [1, 1.5]


def conditions(*kinds: str) -> dict:
    return {"conditions": [{"type": kind, "status": "True"} for kind in kinds]}


@pytest.mark.parametrize(
    ("kind", "states", "expected"),
    [
        ("Job", [{}, {}, conditions("Complete")], ["created", "complete", "deleted"]),
        ("Deployment", [{}, {"readyReplicas": 1}], ["created", "ready", "deleted"]),
        ("FusionRun", [{}, conditions("Finished", "Failed")], ["created", "failed", "deleted"]),
        ("Workflow", [{}, {"phase": "Running"}, {"phase": "Succeeded"}], ["created", "complete", "deleted"]),
        ("Workflow", [{"phase": "Running"}, {"phase": "Error"}], ["created", "failed", "deleted"]),
    ],
)
def test_each_state_of_an_object_is_recorded_once(tmp_path, kind, states, expected):
    timeline = Timeline(tmp_path / "timeline.jsonl")
    observe = timeline.observer(kind)
    labels = {"fusionrun.dev/run": "a", "fusionrun.dev/stage": "verify.x.coding", "fusionrun.dev/attempt": "1"}
    manifest = {"metadata": {"name": "a", "uid": "u", "labels": labels}}
    for state in states:
        observe("MODIFIED", manifest | {"status": state})
    observe("DELETED", manifest | {"status": states[-1]})
    assert [e["what"] for e in timeline.entries] == expected
    known = {"kind": kind, "name": "a", "run": "a", "stage": "verify/x.coding", "attempt": "1"}
    assert all(entry.items() >= known.items() for entry in timeline.entries)
    assert len((tmp_path / "timeline.jsonl").read_text().splitlines()) == len(expected)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([3], 99, 3), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 101), 100, 100)],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert analysis.percentile(values, percent) == expected


def test_watches_and_leases_are_no_requests_of_a_stage():
    def event(verb: str, resource: str, code: int = 200, **more: str) -> dict:
        return {"verb": verb, "objectRef": {"resource": resource, **more}, "responseStatus": {"code": code}}

    events = [event("create", "jobs", 201), event("delete", "pods", 404), event("create", "pods", subresource="exec")]
    events += [event("watch", "jobs"), event("update", "leases"), event("create", "jobs", 409)]
    expected = {"create jobs": 2, "delete pods": 1, "create pods/exec": 1, "refused": 2}
    assert analysis.requests(events) == expected


def test_a_table_has_a_column_for_each_measurement(tmp_path):
    measured = figures.Figures(
        engine="Argo", shape="tiny", runs=1000, rate=2.5, complete=0, failed=0, took_median=None, finished_last=None,
        stages=1750, stages_ended=1050, pods=3000, pods_created=2000, follow_up=(13.7, 23, 25),
        pods_follow_up=(None, None, None), cpu_seconds=48.3, plane_cpu={"etcd": 1.0, "kube-apiserver": 1.1},
        rss_start=87, rss_peak=251, rss_settled=251, rss_restarted=None, restart_peak=None, level_seconds=None,
        requests={"create pods": 5985, "refused": 700}, events=0, event_delay=(None, None), kubelet_delay=0.5,
    )  # fmt: skip
    figures.save(measured, tmp_path / "figures.json")
    lines = figures.table([measured, figures.read(tmp_path / "figures.json")]).splitlines()
    assert lines[0] == "|  | Argo: 1,000 tiny, 2.5 per s | Argo: 1,000 tiny, 2.5 per s |"
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1] for line in lines}
    assert rows["all finished after"] == "never"
    assert rows["controller's CPU time; per stage"] == "48.3 s; 46 ms"
    assert rows["control plane's CPU time per stage"] == "2.00 ms"
    assert rows["API requests per stage; of these 404 or 409"] == "5.70; 0.67"
    assert {line.count(" | ") for line in lines[2:]} == {2}
