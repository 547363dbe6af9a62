"""ConfigMaps that somebody else made, changed or deleted: the operator uses only what its status confirms."""

import copy
import json
import random
from dataclasses import dataclass, field

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.names import API_VERSION, KIND, LABEL_RUN
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from support.runs import UID, make_run
from support.world import World, world_after

EVIL = "evil.example/miner:1"
SPEC = ObjectRef("v1", "ConfigMap", "lab", "tiny-spec")
RESOLVED = ObjectRef("v1", "ConfigMap", "lab", "tiny-resolved")


def images_of(world: World) -> set[str]:
    """Return the images of all workloads that exist."""
    text = json.dumps(world.of_kind("Job", "PyTorchJob", "Deployment"))
    return {part.split('"')[0] for part in text.split('"image": "')[1:]}


def forged(genuine: dict[str, str], name: str) -> dict[str, object]:
    """Return a ConfigMap with the name, the label and the owner of the operator's, and other images."""
    data = copy.deepcopy(genuine)
    if "images.json" in data:
        data["images.json"] = json.dumps(dict.fromkeys(json.loads(data["images.json"]), EVIL) | {"pull_secrets": []})
    else:
        data["pins.json"] = json.dumps(["0" * 12 for _ in json.loads(data["pins.json"])])
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": "tiny", "uid": UID, "controller": True}
    labels = {LABEL_RUN: "tiny"}
    metadata = {"name": name, "namespace": "lab", "labels": labels, "ownerReferences": [owner], "uid": "forged"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def put(world: World, manifest: dict[str, object]) -> None:
    world.objects[ref_of(manifest)] = manifest


def genuine(suffix: str) -> dict[str, str]:
    return world_after("resolve").objects[ObjectRef("v1", "ConfigMap", "lab", f"tiny-{suffix}")]["data"]


def test_the_digest_is_in_the_status_before_the_config_map_exists():
    world = World(make_run())
    first = world.reconcile()
    assert (first.create, first.delete, first.events, first.requeue_seconds) == ((), (), (), 0.0)
    assert len(world.status.spec_digest) == 64
    assert not world.objects
    created = {ref_of(m) for m in world.reconcile().create}
    assert SPEC in created


def test_a_spec_that_exists_before_acceptance_is_replaced():
    world = World(make_run(), absent={"fusion-data"})
    world.settle()
    put(world, forged(genuine("spec"), "tiny-spec"))
    world.settle()
    assert world.condition("Ready")[1] == Reason.CLAIM_MISSING
    world.absent.clear()
    world.complete()
    assert EVIL not in images_of(world)
    assert world.objects[SPEC]["metadata"].get("uid") != "forged"


def test_a_spec_that_is_made_between_the_status_and_the_config_map_is_replaced():
    world = World(make_run())
    world.reconcile()
    put(world, forged(genuine("spec"), "tiny-spec"))
    world.complete()
    assert EVIL not in images_of(world)


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
@pytest.mark.parametrize("moment", ["resolve", "prepare/prompts", "sft"])
def test_a_spec_that_is_replaced_or_deleted_later_is_restored(moment, replaced):
    world = World(make_run())
    world.run_until(moment)
    data, made = world.objects[SPEC]["data"], list(world.started)
    del world.objects[SPEC]
    if replaced:
        put(world, forged(data, "tiny-spec"))
    world.settle()
    assert world.objects[SPEC]["data"] == data
    assert world.started == made
    world.complete()
    assert EVIL not in images_of(world)


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
@pytest.mark.parametrize("suffix", ["spec", "resolved"])
def test_a_run_whose_config_map_cannot_be_restored_waits_and_keeps_its_objects(suffix, replaced):
    world = World(make_run())
    world.run_until("sft")
    ref = ObjectRef("v1", "ConfigMap", "lab", f"tiny-{suffix}")
    kept = copy.deepcopy(world.objects[ref])
    world.settings = World(make_run()).settings
    if suffix == "spec":  # another operator has other images, so it cannot make the same data
        world.settings = type(world.settings)(images=type(world.settings.images)("d", "s", "t", "r", "x"))
    else:  # the pods of resolve are gone, and the status was written by an earlier release
        del world.run["status"]["pins"]
        for old in [r for r in world.objects if "resolve-" in r.name]:
            del world.objects[old]
    del world.objects[ref]
    if replaced:
        put(world, forged(kept["data"], ref.name))
    before, stages = copy.deepcopy(world.objects), world.status.stages
    world.settle()
    status, reason, message = world.condition("Ready")
    assert (status, reason) == ("False", Reason.ACCEPTED_SPEC_CHANGED)
    assert f"ConfigMap tiny-{suffix}" in message
    assert "restore its data from a backup, or create a new run" in message
    assert (world.objects, world.status.stages) == (before, stages)
    assert world.condition("Failed")[0] == "False"
    assert [e.type for e in world.events[-1:]] == ["Warning"]
    assert world.reconcile().status is None

    world.change_spec(suspend=True)
    assert "sft" not in world.workloads()
    world.change_spec(suspend=False)
    world.objects[ref] = kept
    world.complete()
    assert world.created.count("PyTorchJob:sft") == 2, "once more after the suspension"


def test_a_result_of_resolve_that_exists_too_early_is_not_used():
    world = world_after()
    put(world, forged(genuine("resolved"), "tiny-resolved"))
    world.settle()
    assert set(world.workloads()) == {"resolve"}
    world.complete()
    assert "000000000000" in json.loads(world.objects[RESOLVED]["data"]["pins.json"])
    assert len(set(json.loads(world.objects[RESOLVED]["data"]["pins.json"]))) > 1


def test_a_task_of_resolve_that_is_replaced_does_not_change_the_digests():
    """Another digest is another directory on the claim, such as that of somebody else's artifact."""
    expected = json.loads(genuine("resolved")["digests.json"])
    world = world_after()
    data = world.objects[world.task_ref("resolve")]["data"]
    task = json.loads(data["task.json"])
    for stage in task["parameters"]["stages"]:
        stage["parametersDigest"] = "0" * 20
    world.finish("resolve")
    data["task.json"] = json.dumps(task)
    world.settle()
    assert json.loads(world.objects[RESOLVED]["data"]["digests.json"]) == expected


@dataclass
class Attacked(World):
    """A world in which somebody replaces or deletes ConfigMaps of the run between two events."""

    chance: random.Random = field(default_factory=random.Random)

    def step(self) -> bool:
        for ref in (SPEC, RESOLVED):
            attack = self.chance.choice(("none", "replace", "delete"))
            if attack == "delete":
                self.objects.pop(ref, None)
            elif attack == "replace":
                put(self, forged(genuine(ref.name.removeprefix("tiny-")), ref.name))
        return super().step()


@pytest.mark.parametrize("seed", range(4))
def test_a_run_completes_with_its_own_images_and_pins_whatever_config_maps_others_make(seed):
    world = Attacked(make_run(publish={"uri": "pvc://fusion-data/out"}), chance=random.Random(seed))
    world.complete()
    alone = World(make_run(publish={"uri": "pvc://fusion-data/out"}))
    alone.complete()
    assert world.started == alone.started
    tasks = {ref: o["data"] for ref, o in world.objects.items() if "task.json" in o.get("data", {})}
    assert tasks == {ref: o["data"] for ref, o in alone.objects.items() if "task.json" in o.get("data", {})}
    assert EVIL not in images_of(world)


# Upgrades and rollbacks


def without_digests(world: World) -> None:
    """Leave the status as 0.2.0 writes it; server-side apply removes the fields that it does not write."""
    for name in ("specDigest", "resolvedDigest"):
        world.run["status"].pop(name, None)


@pytest.mark.parametrize("moment", ["resolve", "prepare/prompts", "sft", "evaluate/final"])
def test_a_run_that_an_earlier_release_accepted_is_adopted_once(moment):
    world = World(make_run())
    world.run_until(moment)
    digests = world.status.spec_digest, world.status.resolved_digest
    without_digests(world)
    made = list(world.created)
    first = decide(world.live(), world.settings, world.now)
    assert (first.create, first.delete) == ((), ())
    world.settle()
    assert (world.status.spec_digest, world.status.resolved_digest) == digests
    assert world.created == made
    put(world, forged(world.objects[SPEC]["data"], "tiny-spec"))
    world.complete()
    assert EVIL not in images_of(world)


def test_a_run_that_was_suspended_before_a_stage_ran_is_accepted_again():
    """Nothing shows that 0.2.0 accepted it, and no work is lost."""
    world = world_after()
    world.change_spec(suspend=True)
    without_digests(world)
    put(world, forged(world.objects[SPEC]["data"], "tiny-spec"))
    world.change_spec(suspend=False)
    world.complete()
    assert EVIL not in images_of(world)


def test_a_waiting_run_is_not_adopted():
    """Its status has stages, but none of them has run."""
    world = World(make_run(), absent={"fusion-data"})
    world.settle()
    assert world.status.stages
    put(world, forged(genuine("spec"), "tiny-spec"))
    world.absent.clear()
    world.reconcile()
    world.settle()
    assert EVIL not in images_of(world)
