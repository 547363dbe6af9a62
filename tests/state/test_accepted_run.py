"""An upgrade of the operator, or a changed default, does not change an accepted run."""

import json
from dataclasses import replace

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.tasks.task import decode_task
from fusionrun.plan import stages
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.kinds import stage_traits
from fusionrun.plan.pinned import Feature, PinnedPlan
from fusionrun.state.decide import spec_checks
from fusionrun.state.observe import accepted_run
from fusionrun.state.observe.accepted_run import acceptance, resolution
from fusionrun.state.observe.frozen import frozen
from fusionrun.state.observe.object_ref import ObjectRef, ref_of
from fusionrun.state.observe.observed import observe
from support.runs import make_run
from support.world import SETTINGS, World, with_complete

RESOLVED = ObjectRef("v1", "ConfigMap", "lab", "tiny-resolved")


def started(*finished: str, **world) -> World:
    world = World(make_run(), **world)
    world.finish_in_turn(*finished)
    return world


def task(world: World, stage: str):
    name = world.workloads()[stage]["metadata"]["name"]
    return decode_task(world.objects[ObjectRef("v1", "ConfigMap", "lab", name)]["data"]["task.json"])


def raise_every_version(monkeypatch):
    monkeypatch.setattr(stages, "stage_traits", lambda *of: replace(stage_traits(*of), version=9))


def test_a_stage_reads_what_the_stages_before_it_wrote(monkeypatch):
    world = started("resolve")
    written = task(world, "prepare/prompts").digest
    raise_every_version(monkeypatch)
    world.finish("prepare/prompts")
    world.settle()
    world.serve("ada")
    assert task(world, "generate/ada").parameters.prompts_dir.split("/")[-2:].count(written) == 1
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_the_result_of_resolve_refers_to_its_own_task(monkeypatch):
    """It looked for the digests of its task, and not for those of another version."""
    complete = with_complete(lambda stage: stage == "prepare/prompts")
    world = started(answer=complete)
    raise_every_version(monkeypatch)
    world.finish("resolve")
    world.settle()
    asked = {s.name: s for s in task_of_resolve(world).parameters.stages}
    frozen = json.loads(world.objects[RESOLVED]["data"]["digests.json"])
    assert set(frozen) == set(asked)
    monkeypatch.undo()
    same = started("resolve", answer=complete)
    assert frozen == json.loads(same.objects[RESOLVED]["data"]["digests.json"])


def task_of_resolve(world: World):
    found = [o for o in world.objects.values() if o["kind"] == "ConfigMap" and "tiny-resolve-" in o["metadata"]["name"]]
    return decode_task(found[0]["data"]["task.json"])


def test_a_pin_stays_with_its_reference():
    """The plan of a newer operator may have the references in another order."""

    def another_order(spec):
        plan = build_plan(spec)
        return replace(plan, references=tuple(reversed(plan.references)))

    world = started("resolve")
    live = world.live()
    observed = observe(live, world.status)
    believed = frozen(live.run, observed, world.status)
    spec = acceptance(live, believed, world.settings).spec
    layouts = [PinnedPlan("lab", "tiny", "", spec, plan, (), {}) for plan in (build_plan(spec), another_order(spec))]
    found = [
        dict(
            zip(
                (r.field for r in layout.plan.references),
                resolution(live, observed, believed, layout, world.status).pins,
                strict=True,
            )
        )
        for layout in layouts
    ]
    assert found[0] == found[1]
    assert len(set(found[0].values())) == len(found[0])


def test_a_new_check_applies_to_new_runs_only(monkeypatch):
    world = started("resolve")
    monkeypatch.setattr(spec_checks, "check_spec", lambda _: ["a new check fails"])
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    other = World(make_run(name="other"))
    other.settle()
    assert other.condition("Failed")[:2] == ("True", "InvalidSpec")


def test_an_immutable_field_is_read_from_the_accepted_spec():
    """The schema of the live object may have changed since."""
    world = started("resolve")
    world.run["spec"]["recipe"] = "FuseChat-2.9"
    world.run["spec"]["backoffLimit"] = 1
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_a_suspended_run_is_accepted_when_it_is_resumed(monkeypatch):
    """Images of one release and stage versions of another would store old output under new digests."""
    world = World(make_run(suspend=True))
    world.settle()
    assert world.objects == {}
    assert world.condition("Suspended")[:2] == ("True", "Suspended")
    raise_every_version(monkeypatch)
    world.run["spec"]["suspend"] = False
    world.settle()
    assert {ref.kind for ref in world.objects} == {"ConfigMap", "NetworkPolicy", "Job"}
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


KEYED = replace(SETTINGS, server_key=b"k" * 32)


def variables(world: World, stage: str) -> list[str]:
    containers = world.workloads()[stage]["spec"]["template"]["spec"]["containers"]
    return [e["name"] for c in containers for e in c["env"]]


def test_the_servers_of_a_run_ask_for_a_key_if_the_operator_had_one_at_acceptance():
    world = started("resolve", "prepare/prompts", settings=KEYED)
    assert "VLLM_API_KEY" in variables(world, "serve/ada")
    assert [label for label in world.created if label.startswith("Secret")] == ["Secret:"]
    (secret,) = world.of_kind("Secret")
    del world.objects[ref_of(secret)]
    world.serve("bob")
    assert world.of_kind("Secret") == [secret], "each server and each client creates it, unless it exists"
    world.settings = SETTINGS  # the key is gone: clients of running servers still need the Secret
    world.serve("ada")
    assert "FUSIONRUN_API_KEY" in variables(world, "generate/ada")
    assert task(world, "generate/ada").parameters.api_key_env == "FUSIONRUN_API_KEY"


def test_a_run_that_was_accepted_without_a_key_goes_on_without_one():
    world = started("resolve", "prepare/prompts")
    world.settings = KEYED
    world.serve("ada")
    assert "VLLM_API_KEY" not in variables(world, "serve/bob")
    assert "FUSIONRUN_API_KEY" not in variables(world, "generate/ada")
    world.complete()
    assert not world.of_kind("Secret")


def test_a_feature_of_a_newer_release_is_ignored():
    world = started()
    spec = world.objects[ObjectRef("v1", "ConfigMap", "lab", "tiny-spec")]
    known = json.loads(spec["data"]["features.json"])
    assert known == sorted(set(Feature) - {Feature.SERVER_KEY})
    spec["data"]["features.json"] = json.dumps([*known, "unknown"])
    world.complete()


def test_a_run_of_an_earlier_release_keeps_the_pods_of_that_release(monkeypatch):
    old = frozenset(Feature) - {Feature.SERVER_KEY, Feature.SHARED_SHARDS, Feature.PROMOTE_ON_ONE_GPU}
    monkeypatch.setattr(accepted_run, "features", lambda _: old)
    gpus = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}
    world = World(make_run(training={"processesPerNode": 2, "resources": gpus}))
    world.finish_in_turn("resolve", "prepare/prompts", "prepare/benchmarks", "serve/ada", "generate/ada")
    score = world.workloads()["score/ada"]["spec"]
    assert (score["completions"], score["parallelism"], task(world, "score/ada").workers) == (2, 1, None)
    spec = fill(FusionRunSpec.model_validate(world.run["spec"]))
    plan = accepted_run.Acceptance(spec, SETTINGS.images, features=old).adopt(build_plan(spec))
    assert (plan["promote"].gpus, build_plan(spec)["promote"].gpus) == (2, 1)
