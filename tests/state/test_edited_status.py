"""A status that somebody has edited: what is believed, and no value stops the decisions."""

import copy
import json

import pytest

from fusionrun.api.status.run import read_status
from fusionrun.api.storable import SUMMAND_MAX
from support.world import World, world_after

DONE = ("resolve", "prepare/prompts", "prepare/benchmarks")


def in_progress() -> World:
    """Return a run with finished, running and waiting stages, and with one retry."""
    world = world_after(*DONE, backoffLimit=0)
    world.serve("ada")
    world.fail("generate/ada", {"exitCode": 1, "message": "a network error"})
    world.settle()
    world.run["metadata"]["annotations"] = {"fusionrun.dev/retry": "1"}
    world.settle()
    world.run_until("generate/ada")
    return world


def edit(world: World, stage: str, **fields: object) -> None:
    entry = next(s for s in world.run["status"]["stages"] if s["name"] == stage)
    for name, value in fields.items():
        entry.pop(name, None)
        if value is not None:
            entry[name] = value


def test_the_status_is_the_record_that_a_stage_is_done():
    """Only the operator has the right to write it."""
    world = in_progress()
    world.finish("generate/ada")
    edit(world, "generate/ada", state="Succeeded")
    world.settle()
    assert "serve/ada" not in world.workloads()
    edit(world, "score/ada", state="Succeeded")
    world.complete()
    assert "Job:score.bob" in world.created
    assert [label for label in world.created if label == "Job:score.ada"] == ["Job:score.ada"], "it ran before the edit"


@pytest.mark.parametrize("state", ["Failed", "Running", "Waiting", "Evicted"])
@pytest.mark.parametrize("stage", ["generate/ada", "sft"])
def test_any_other_state_is_determined_again(stage, state):
    world = in_progress()
    before = world.stage(stage)
    edit(world, stage, state=state)
    world.settle()
    assert world.stage(stage).state == before.state
    assert world.condition("Failed")[0] == "False"
    world.complete()


def test_a_finished_stage_that_was_removed_or_reset_is_determined_from_its_job():
    world = in_progress()
    world.run["status"]["stages"] = [s for s in world.run["status"]["stages"] if s["name"] != "prepare/prompts"]
    edit(world, "prepare/benchmarks", state="Pending")
    made = list(world.created)
    world.settle()
    assert [world.stage(name).state for name in DONE] == ["Succeeded"] * 3
    assert world.created == made
    world.complete()


def test_a_finished_stage_that_was_reset_and_has_no_job_runs_again():
    """Its pod finds the artifact complete and returns at once."""
    world = in_progress()
    (name,) = (o["metadata"]["name"] for o in world.of_kind("Job") if "benchmarks" in o["metadata"]["name"])
    for ref in [ref for ref in world.objects if ref.name == name or (ref.kind == "Pod" and ref.name.startswith(name))]:
        del world.objects[ref]
    edit(world, "prepare/benchmarks", state="Pending")
    world.settle()
    assert world.stage("prepare/benchmarks").state == "Running"
    world.complete()


def test_a_run_whose_status_was_removed_is_accepted_again_and_keeps_its_objects():
    world = in_progress()
    before = set(world.objects)
    world.run["status"] = {}
    world.settle()
    assert before <= set(world.objects)
    world.complete()


def test_a_finished_run_whose_condition_was_changed_continues():
    world = in_progress()
    world.complete()
    for condition in world.run["status"]["conditions"]:
        condition["status"] = "False"
    made = list(world.created)
    world.settle()
    assert world.condition("Complete")[0] == "True"
    assert world.created == made


WRONG = [None, "x", "2026-01-01T00:00:00", -1, SUMMAND_MAX, 10**30, {}]
IN_PROGRESS = in_progress()
GPU_POD = {"uid": "u", "startTime": "2026-01-01T00:00:00Z", "gpus": 8, "costPerHourMicro": 1}
GPU_USAGE = {"endedGpuSeconds": 1, "endedCostMicro": 1, "endedTime": "2026-01-01T00:00:00Z", "pods": [GPU_POD]}
edit(IN_PROGRESS, "generate/ada", gpuUsage=GPU_USAGE, costMicro=1)


def leaves(value: object, path: tuple = ()):
    """Yield the place of one value of each kind: in a list, the first item with the field."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*path, key)
        yield from leaves(below, (*path, key))


def kinds_of_leaves(status: dict) -> list[tuple]:
    found = {tuple("[]" if isinstance(part, int) else part for part in path): path for path in leaves(status)}
    return list(found.values())


@pytest.mark.parametrize("path", kinds_of_leaves(IN_PROGRESS.run["status"]), ids=lambda path: ".".join(map(str, path)))
def test_no_value_stops_the_decisions(path):
    """The API server refuses most of them. What cannot be read is left out, and written again."""
    for wrong in WRONG:
        world = copy.deepcopy(IN_PROGRESS)
        parent: object = world.run["status"]
        for part in path[:-1]:
            parent = parent[part]
        if wrong is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = wrong
        world.pass_time(hours=1)
        written = world.run["status"]
        assert read_status(written).model_dump(mode="json", exclude_none=True) == written, wrong
        assert json.loads(json.dumps(written)) == written
