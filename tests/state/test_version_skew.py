"""ConfigMaps, status and spec of a run that another release wrote: an upgrade or a rollback of the operator.

The tests add data that this release does not know; tests/releases has runs of real releases.
"""

import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from fusionrun import __version__
from fusionrun.api.spec.sources import Source
from fusionrun.api.stage import StageKind
from fusionrun.api.status.stages import StageState
from fusionrun.plan import stages
from fusionrun.plan.build import build_plan
from fusionrun.plan.kinds import stage_traits
from fusionrun.plan.stages import FetchedModel, Stage
from fusionrun.state.decide import run as decide_module
from fusionrun.state.observe.frozen import data_digest
from fusionrun.state.observe.object_ref import ObjectRef
from support.runs import make_run
from support.world import World

NEWER = "99.0.0"
GPU = {"limits": {"nvidia.com/gpu": 1}}


def training(**changes) -> World:
    """Return a run whose SFT has run on GPUs for three hours."""
    world = World(make_run(training={"nodes": 1, "processesPerNode": 1, "resources": GPU}, **changes))
    world.run_until("sft")
    world.place("sft")
    world.now += timedelta(hours=3)
    world.settle()
    return world


def config_map(world: World, suffix: str) -> dict[str, str]:
    return next(o for o in world.objects.values() if o["metadata"]["name"] == f"tiny-{suffix}")["data"]


def written_by_its_release(world: World) -> None:
    """Let the status have the digests of the ConfigMaps, as the release that wrote them would have left it."""
    for suffix, field in (("spec", "specDigest"), ("resolved", "resolvedDigest")):
        if ObjectRef("v1", "ConfigMap", "lab", f"tiny-{suffix}") in world.objects:
            world.run["status"][field] = data_digest(config_map(world, suffix))


def change_json(world: World, suffix: str, key: str, change) -> None:
    data = config_map(world, suffix)
    value = json.loads(data[key])
    change(value)
    data[key] = json.dumps(value)


def unknown_in_frozen_spec(world):
    change_json(world, "spec", "spec.json", lambda spec: spec["generation"].update(newField=1))


def unknown_image(world):
    change_json(world, "spec", "images.json", lambda images: images.update(judge="judge:9"))


def image_that_the_older_release_did_not_have(world):
    change_json(world, "spec", "images.json", lambda images: images.pop("sandbox"))


def unknown_in_live_spec(world):
    world.run["spec"]["scheduling"] = {"topology": "rack"}


def unknown_in_status(world):
    world.run["status"]["energyKwh"] = 3.5
    world.run["status"]["stages"][0]["node"] = "a"


def unknown_state(world):
    sft = next(s for s in world.run["status"]["stages"] if s["name"] == "sft")
    sft["state"] = "Evicted"


def condition_of_another_controller(world):
    other = {"type": "QuotaReserved", "status": "True", "reason": "Quota", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    world.run["status"]["conditions"].append(other)


def value_out_of_bounds(world):
    world.run["status"]["stages"][0]["message"] = "x" * 5000


UNKNOWN = [
    unknown_in_frozen_spec,
    unknown_image,
    image_that_the_older_release_did_not_have,
    unknown_in_live_spec,
    unknown_in_status,
    unknown_state,
    condition_of_another_controller,
    value_out_of_bounds,
]


@pytest.mark.parametrize("change", UNKNOWN, ids=lambda c: c.__name__)
def test_unknown_data_is_ignored_and_the_run_continues(change):
    world = training()
    config_map(world, "spec")["version"] = NEWER
    before = world.stage("sft").gpu_seconds
    change(world)
    written_by_its_release(world)
    made = list(world.created)
    world.settle()
    assert world.created == made
    assert world.stage("sft").state == "Running"
    assert world.stage("sft").gpu_seconds == before == 3 * 3600
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.created.count("PyTorchJob:sft") == 1


def test_a_condition_of_another_controller_is_never_written():
    world = training()
    condition_of_another_controller(world)
    assert world.reconcile().status is None
    world.run["metadata"]["generation"] = 2
    assert "QuotaReserved" not in {c.type for c in world.reconcile().status.conditions}


def test_an_unknown_state_is_preserved():
    assert StageState("Evicted") == "Evicted"
    assert StageState("Evicted") not in list(StageState)


def unknown_enum_value(world, monkeypatch):
    change_json(world, "spec", "spec.json", lambda spec: spec["datasets"][0].update(task="ToolUse"))


def other_digests(world, monkeypatch):
    monkeypatch.setattr(stages, "stage_traits", lambda *of: replace(stage_traits(*of), version=9))


def stage_of_the_newer_release(world, monkeypatch):
    change_json(world, "resolved", "digests.json", lambda found: found.update({"filter/ada": "0" * 20}))


def unreadable_toleration(world, monkeypatch):
    world.run["spec"]["scheduling"] = {"tolerations": [{"operator": "Gt"}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unknown_enum_value, "spec.datasets.0.task: 'ToolUse'"),
        (other_digests, "tiny-resolved"),
        (stage_of_the_newer_release, "tiny-resolved"),
        (unreadable_toleration, "spec.scheduling.tolerations.0.operator: 'Gt'"),
    ],
    ids=lambda c: getattr(c, "__name__", ""),
)
def test_a_run_waits_for_a_newer_operator_and_can_be_suspended(change, says, monkeypatch):
    world = training()
    config_map(world, "spec")["version"] = NEWER
    change(world, monkeypatch)
    written_by_its_release(world)
    before, stages_before = copy.deepcopy(world.objects), world.status.stages
    world.settle()
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", "OperatorTooOld")
    assert f"the operator, FusionRun {__version__}, cannot continue it" in message
    assert f"FusionRun {NEWER} accepted this run" in message
    assert says in message
    assert world.condition("Failed")[0] == "False"
    assert (world.objects, world.status.stages) == (before, stages_before)
    assert world.status.gpus_in_use == 1
    assert [(e.type, e.reason) for e in world.events[-1:]] == [("Warning", "OperatorTooOld")]
    assert world.reconcile().status is None

    world.run["spec"]["suspend"] = True
    world.settle()
    assert world.condition("Suspended")[:2] == ("True", "Suspended")
    assert "upgrade the operator" in world.condition("Suspended")[2]
    assert "sft" not in world.workloads()
    assert (world.stage("sft").state, world.stage("sft").gpu_seconds) == ("Pending", 3 * 3600)
    assert (world.status.gpus_in_use, world.stage("construct").state) == (0, "Succeeded")
    assert world.reconcile().status is None


def with_a_new_stage(spec):
    """Return a plan with a new stage between SFT and DPO, and a new server with a client."""
    plan = build_plan(spec)
    added = Stage(StageKind.FETCH, FetchedModel("extra"), inputs=("sft",), pins=(0,))
    server = Stage(StageKind.SERVE, Source(name="extra"))
    asked = Stage(StageKind.GENERATE, Source(name="extra"), inputs=("sft",), server="serve/extra", shards=1)
    found = []
    for stage in plan.stages:
        if stage.name == "dpo":
            found += [added, server, asked]
            needs = {"inputs": (*stage.inputs, "fetch/extra"), "after": (*stage.after, "generate/extra")}
        found.append(replace(stage, **needs) if stage.name == "dpo" else stage)
    return replace(plan, stages=tuple(found))


@pytest.mark.parametrize("finished", [(), ("resolve",)], ids=["before resolve", "after resolve"])
@pytest.mark.parametrize("kept", ["stages.json", None], ids=["listed", "accepted by 0.1.0"])
def test_an_accepted_run_has_no_stages_that_a_newer_release_added(monkeypatch, finished, kept):
    world = World(make_run())
    world.finish_in_turn(*finished)
    if not kept:
        del config_map(world, "spec")["stages.json"], config_map(world, "spec")["version"]
        written_by_its_release(world)
        if not finished:
            world.finish("resolve")
            world.settle()
    monkeypatch.setattr(decide_module, "build_plan", with_a_new_stage)
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert not [name for name in world.created if "extra" in name]
    assert not [name for name in json.loads(config_map(world, "resolved")["digests.json"]) if "extra" in name]
