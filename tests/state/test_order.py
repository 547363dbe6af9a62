"""Which stages start when GPUs are free, and what the status says about those that wait."""

import re
from datetime import datetime, timedelta

import pytest

from fusionrun.api.results.result import Progress
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.conditions import Reason
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.work import work_digest
from fusionrun.state.observe.live_objects import PushedProgress, Refusal
from support.nodes import Nodes
from support.runs import make_run, make_spec
from support.world import succeeded

PREPARED = ("resolve", "prepare/prompts", "prepare/benchmarks")


def gpus(count: int) -> dict:
    return {"resources": {"limits": {"nvidia.com/gpu": count}}, "tensorParallelSize": count}


def world_of(budget: int, fetched: str = "", **sources: tuple[int, int]) -> Nodes:
    """Return a run whose sources have so many GPUs and thousands of prompts; the model of one has to be fetched."""
    spec = make_spec()
    math = spec["datasets"][0] | {"sources": list(sources)}
    spec |= {"sources": [], "datasets": []}
    for name, (count, prompts) in sources.items():
        uri = f"hf://org/{name}" if name == fetched else f"pvc://fusion-data/models/{name}"
        spec["sources"].append({"name": name, "served": {"model": {"uri": uri}, **gpus(count)}})
        spec["datasets"].append(math | {"name": name, "maxPrompts": prompts * 1000, "sources": [name]})
    spec["evaluation"]["server"] = gpus(1)
    return Nodes(make_run(**spec, scheduling={"gpuBudget": budget}))


def servers(world: Nodes) -> list[str]:
    return [name for name in world.workloads() if name.startswith("serve/")]


def place(world: Nodes) -> None:
    """Let the pods of every server have a node."""
    for name in servers(world):
        world.bind(world.workloads()[name], 1)
    world.settle()


def test_the_server_with_the_longest_path_starts_first_wherever_it_is_in_the_spec():
    world = world_of(8, four=(4, 1), eight=(8, 100))
    world.finish_in_turn(*PREPARED)
    assert servers(world) == ["serve/eight"]
    text = "spec.scheduling.gpuBudget: 8: the stage needs 1 GPU, 8 are in use"
    assert world.stage("serve/eval-base").message == text
    place(world)
    held = re.escape(f"{text}: serve/eight holds 8 until about 2026-01-02 ")
    assert re.fullmatch(rf"{held}\d\d:\d0 UTC", world.stage("serve/eval-base").message)


def test_the_progress_of_the_client_counts_for_the_time_until_a_server_ends():
    world = world_of(8, four=(4, 1), eight=(8, 100))
    world.finish_in_turn(*PREPARED)
    place(world)
    world.serve("eight")
    client, since = world.workloads()["generate/eight"], world.now
    client["status"] = {"startTime": client["metadata"]["creationTimestamp"]}
    world.now += timedelta(hours=1)
    world.pushed = {("generate/eight", 0): PushedProgress(Progress(done=1, total=1), world.now, since=since)}
    client["status"]["succeeded"] = 1  # of two shards
    world.settle()
    assert world.stage("serve/four").message.endswith("serve/eight holds 8 until about 2026-01-02 05:10 UTC")


def test_room_is_kept_for_a_large_server_whose_model_is_being_fetched_unless_that_takes_too_long():
    world = world_of(8, "eight", four=(4, 1), eight=(8, 100))
    world.finish_in_turn("resolve")
    world.bind(world.workloads()["fetch/eight"], 1)
    world.finish_in_turn(*PREPARED[1:])
    assert servers(world) == ["serve/four"]
    kept = "spec.scheduling: there is room, but serve/eight with 8 GPUs is to start about 2026-01-02 03:40 UTC"
    assert world.stage("serve/eval-base").message == kept
    world.pass_time(hours=1)
    assert servers(world) == ["serve/four"]
    world.pass_time(hours=1)  # it is late by more than the evaluation takes
    assert servers(world) == ["serve/four", "serve/eval-base"]


def test_room_is_kept_for_a_refused_server_until_it_has_waited_for_as_long_as_a_smaller_one_takes():
    world = world_of(8, four=(4, 1), eight=(8, 100))
    world.refusals["Deployment:serve.eight"] = Refusal(403, "exceeded quota")
    world.finish_in_turn("resolve", "prepare/benchmarks", "prepare/prompts")
    assert servers(world) == []
    assert world.stage("serve/eight").reason == Reason.OBJECT_REFUSED
    world.pass_time(minutes=30)
    assert servers(world) == ["serve/four"]


def test_without_limits_everything_that_can_start_does():
    world = world_of(8, four=(4, 1), eight=(8, 100))
    world.run["spec"]["scheduling"] = {}
    world.finish_in_turn(*PREPARED)
    assert servers(world) == ["serve/four", "serve/eight", "serve/eval-base"]


def test_the_time_of_an_earlier_stage_with_the_same_work_beats_the_estimate():
    world = world_of(8, four=(4, 100), eight=(8, 1))
    world.finish_in_turn("resolve", "prepare/benchmarks")
    full = fill(FusionRunSpec.model_validate(world.run["spec"]))
    works = {s.name: work_digest(full, s) for s in build_plan(full).stages}
    world.work = {works["serve/four"]: 60, works["serve/eight"]: 400_000}
    world.finish_in_turn("prepare/prompts")
    assert servers(world) == ["serve/eight"], "its estimate is shorter"


def test_the_time_of_a_stage_counts_for_later_ones_of_the_same_run():
    world = world_of(1, four=(1, 1))
    world.finish_in_turn(*PREPARED)
    place(world)
    world.now += timedelta(seconds=1000)
    world.finish_in_turn("serve/four", "generate/four")
    assert world.stage("serve/four").work.seconds == 1000
    world.reap()
    world.settle()
    place(world)
    world.now += timedelta(hours=2)
    world.finish_in_turn("serve/eval-base", "generate/eval-base")
    world.reap()
    world.run_until("serve/eval-sft")
    place(world)
    started = world.now
    world.finish_in_turn("dpo", "promote")
    ends = re.search("serve/eval-sft holds 1 until about (.*) UTC", world.stage("serve/eval-final").message)[1]
    left = datetime.fromisoformat(f"{ends}Z") - started
    assert timedelta(hours=2) <= left <= timedelta(hours=2, minutes=10), "as long as serve/eval-base"


@pytest.mark.parametrize("interrupted", ["the artifact was complete", "it was retried"])
def test_the_time_of_a_stage_that_was_interrupted_or_had_nothing_to_do_is_not_kept(interrupted):
    world = world_of(8, four=(4, 1))
    if interrupted == "the artifact was complete":
        world.answer = lambda kind, task: succeeded(kind, task).model_copy(update={"cached": kind == "generate"})
    world.finish_in_turn(*PREPARED)
    place(world)
    if interrupted == "it was retried":
        world.finish_in_turn("serve/four")
        world.fail("generate/four", {"exitCode": 1})
        world.settle()
        world.pass_time(seconds=30)
    world.finish_in_turn("serve/four", "generate/four")
    assert world.stage("serve/four").state == "Succeeded"
    assert world.stage("serve/four").work is None
