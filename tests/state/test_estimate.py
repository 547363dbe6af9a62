"""The estimate in the status: made from the result of ``resolve``, once."""

from dataclasses import replace

import pytest

from fusionrun.api.results.values import Preflighted, Prepared, Resolved
from fusionrun.api.status.run import read_status
from fusionrun.plan.pod_size import NodeGpus
from support.runs import make_run
from support.world import World, succeeded


def with_models(kind, task, **changed):
    result = succeeded(kind, task)
    if kind != "resolve":
        return result
    models = sum(reference.kind == "model" for reference in task.parameters.references)
    more = {
        "parameters": [8 * 10**9] * models,
        "weights_bytes": [16 * 10**9] * models,
        "licences": ["Gemma Terms of Use: allowed under conditions", *[None] * (models - 1)],
        "memory_bytes": {"training.sft": 17 * 2**30},
        "disk_bytes": 10**12,
        **changed,
    }
    assert isinstance(result.values, Resolved)
    return result.model_copy(update={"values": result.values.model_copy(update=more)})


def test_the_estimate_is_made_once_from_the_result_of_resolve():
    world = World(make_run(), answer=with_models)
    world.run_until("resolve")
    assert world.status.estimate is None
    world.run_until("prepare/prompts")
    made = world.status.estimate
    assert made.disk_bytes == 10**12
    assert (made.models[0].field, made.models[0].parameters) == ("target.model", 8 * 10**9)
    assert made.models[0].licence == "Gemma Terms of Use: allowed under conditions"
    assert [(row.field, row.bytes) for row in made.memory] == [("training.sft", 17 * 2**30)]
    world.run_to_end()
    assert world.status.estimate == made


def test_a_result_without_models_gives_no_estimate():
    world = World(make_run())
    world.run_to_end()
    assert world.status.estimate is None


@pytest.mark.parametrize(
    "changed", [{"licences": ["x" * 300]}, {"weights_bytes": []}, {"disk_bytes": -1}, {"memory_bytes": {"y" * 200: 1}}]
)
def test_a_report_that_does_not_fit_the_status_stops_no_run(changed):
    world = World(make_run(), answer=lambda kind, task: with_models(kind, task, **changed))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.status.estimate is None


ONE_GPU = {"limits": {"nvidia.com/gpu": 1}}


def on_gpus(**changes):
    """Make a run whose sources and training have GPUs, and whose data sets have no ``maxPrompts``."""
    run = make_run(preflight={"enabled": True}, **changes)
    spec = run["spec"]
    for source in spec["sources"]:
        source["served"]["resources"] = ONE_GPU
    spec["training"] = {"nodes": 1, "processesPerNode": 1, "resources": ONE_GPU}
    return run


def counted(kind, task):
    """Answer as a cluster does that has read the data and measured a step on an L4."""
    result = with_models(kind, task)
    values = result.values
    if task.stage == "prepare/prompts":
        values = Prepared(prompts=300, by_dataset={"math": 100, "code": 200})
    if task.stage == "preflight/training":
        values = Preflighted(sft_step_seconds=10.0, dpo_step_seconds=20.0, gpu="NVIDIA L4")
    return result.model_copy(update={"values": values})


def test_the_estimate_is_made_again_when_prompts_are_counted_and_steps_are_measured():
    world = World(on_gpus(), answer=counted)
    world.run_until("prepare/prompts")
    first = world.status.estimate
    assert {"datasets[math]", "datasets[code]"} <= set(first.unknown)
    assert (first.seconds, first.gpu) == (None, None)
    world.run_to_end()
    last = world.status.estimate
    assert [field for field in last.unknown if "datasets" in field] == []
    rows = {row.kind: row for row in last.stages}
    assert (rows["sft"].basis, rows["serve"].basis, last.gpu) == ("Measured", "Estimate", "L4")
    assert last.disk_bytes == first.disk_bytes


class WorldWithNode(World):
    """A cluster with a node, which the operator lists until ``resolve`` is done."""

    labels: dict

    def live(self):
        status = read_status(self.run.get("status"))
        resolved = any((s.name, s.state) == ("resolve", "Succeeded") for s in status.stages)
        node = NodeGpus(self.labels, {"nvidia.com/gpu": 8})
        return replace(super().live(), nodes=() if resolved else (node,))


@pytest.mark.parametrize(
    ("labels", "selector", "gpu"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-H200"}, {}, "H200"),
        ({}, {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, "A100 SXM4 80GB"),
    ],
    ids=["nodes", "nodeSelector"],
)
def test_the_gpu_of_the_nodes_counts_before_the_one_that_trained(labels, selector, gpu):
    world = WorldWithNode(on_gpus(scheduling={"nodeSelector": selector}), answer=counted)
    world.labels = labels
    world.run_to_end()
    assert world.status.estimate.gpu == gpu
