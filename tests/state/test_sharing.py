"""Runs of one namespace that share artifacts: one makes each, and the others wait for it without pods."""

import copy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.stages import StageState, StageStatus
from fusionrun.names import stage_kind
from fusionrun.state.decide.run import decide
from fusionrun.state.decide.sharing import share
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.observed import Observed
from support.namespace import REPORTS, Namespace
from support.plans import pinned_of
from support.properties import quick
from support.runs import make_spec
from support.world import START

SHARED = "prepare/prompts"


def sweep(beta):
    """Return the changed fields of a run of a sweep over ``dpo.beta``."""
    return {"training": {"nodes": 1, "dpo": {"beta": beta}}}


def two(**changes):
    """Return two runs that differ in ``dpo.beta``."""
    return Namespace(a=sweep(10.0) | changes, b=sweep(5.0) | changes)


def with_sources(*names):
    """Return the changed fields of a run with some of the sources ``ada``, ``bob`` and ``eve``."""
    ada = make_spec()["sources"][0]
    sources = []
    for name in names:
        source = copy.deepcopy(ada)
        source["name"], source["served"]["model"]["uri"] = name, f"pvc://fusion-data/models/{name}"
        sources.append(source)
    return {"sources": sources}


def until(namespace, stage):
    """Walk until a run has a workload of a stage; return the names of the run and of the others."""
    namespace.settle()
    for _ in range(40):
        makers = [name for name, world in namespace.worlds.items() if stage in world.workloads()]
        if makers:
            (maker,) = makers
            others = [name for name in namespace.worlds if name != maker]
            for other in others:  # they read the numbers of what is complete
                for report in [s for s in namespace.worlds[other].workloads() if stage_kind(s) in REPORTS]:
                    namespace.finish(other, report)
            namespace.settle()
            return maker, *others
        namespace.step()
        namespace.settle()
    raise AssertionError(stage)


def complete(namespace):
    namespace.run_to_end()
    assert [w.condition("Ready")[1] for w in namespace.worlds.values()] == ["Succeeded"] * len(namespace.worlds)


def test_a_sweep_does_every_shared_stage_once():
    namespace = two()
    complete(namespace)
    assert not namespace.repeated
    first, second = (world.started for world in namespace.worlds.values())
    own = ["resolve", "construct", "dpo", "promote", "serve.eval-final", "generate.eval-final"]
    own += ["verify.eval-final.coding", "evaluate.base", "evaluate.sft", "evaluate.final", "compare"]
    assert sorted(label.split(":")[1] for label in second) == sorted(own)
    assert len(first) > len(second)
    skipped = namespace.worlds["b"].stage("sft")
    assert (skipped.state, skipped.reason, skipped.cache_hit) == ("Skipped", "CacheHit", True)
    assert skipped.message == "made by run 'a'"
    assert namespace.worlds["b"].status.results == namespace.worlds["a"].status.results


def test_runs_with_some_common_sources_make_the_common_responses_once():
    namespace = Namespace(a=with_sources("ada", "bob"), b=with_sources("bob", "eve"), c=with_sources("eve", "ada"))
    complete(namespace)
    assert not namespace.repeated
    started = [label for world in namespace.worlds.values() for label in world.started]
    for source in ("ada", "bob", "eve"):
        assert started.count(f"Deployment:serve.{source}") == 1
        assert started.count(f"Job:generate.{source}") == 1
    assert started.count("PyTorchJob:sft") == 3  # their data differs


def test_a_run_waits_without_pods_for_an_artifact_that_another_makes():
    namespace = two()
    maker, other = until(namespace, "generate/ada")
    assert namespace.states("serve/ada")[other] == ("Waiting", "WaitingForArtifact")
    assert namespace.states("generate/ada")[other] == ("Waiting", "WaitingForArtifact")
    waiting = namespace.worlds[other]
    assert waiting.stage("generate/ada").message == f"run {maker!r} makes its artifact: stage serve/ada"
    assert not waiting.workloads()
    assert "generate/ada: run" in waiting.condition("Ready")[2]
    assert waiting.reconcile().requeue_seconds == 60.0


def test_a_fetch_that_is_only_for_what_another_run_makes_does_not_start():
    sources = make_spec()["sources"]
    sources[0]["served"]["model"]["uri"] = "hf://lab/ada"
    namespace = Namespace(a={"sources": sources})
    until(namespace, "generate/ada")
    namespace.volume.clear()  # somebody has deleted the model, and the prompts
    namespace.add("b", sources=copy.deepcopy(sources))
    namespace.settle()
    namespace.finish("b", "resolve")
    namespace.settle()
    fetch = namespace.worlds["b"].stage("fetch/ada")
    assert (fetch.state, fetch.reason) == ("Waiting", "WaitingForArtifact")
    assert fetch.message == "other runs make the artifacts that it is needed for"
    assert "prepare/prompts" in namespace.worlds["b"].workloads()
    namespace.delete("a")
    namespace.settle()
    assert "fetch/ada" in namespace.worlds["b"].workloads()


STOPS = {
    "deleted": lambda namespace, maker, stage: namespace.delete(maker),
    "suspended": lambda namespace, maker, stage: namespace.worlds[maker].change_spec(suspend=True),
    "over its budget": lambda namespace, maker, stage: (
        namespace.worlds[maker].place(stage),
        namespace.worlds[maker].change_spec(budget={"maxGpuHours": 0.1}),
        namespace.worlds[maker].pass_time(hours=1),
    ),
    "failed": lambda namespace, maker, stage: namespace.worlds[maker].fail(stage, {"exitCode": 2}),
}
GPU = {"limits": {"nvidia.com/gpu": 1}}


@pytest.mark.parametrize(("how", "stage"), [*((how, "sft") for how in STOPS), ("suspended", "generate/ada")])
def test_another_run_takes_over_from_a_run_that_stops(how, stage):
    training = [{"nodes": 1, "dpo": {"beta": beta}, "resources": GPU} for beta in (1.0, 2.0)]
    namespace = Namespace(a={"training": training[0]}, b={"training": training[1]})
    maker, other = until(namespace, stage)
    assert namespace.states(stage)[other][1] == Reason.WAITING_FOR_ARTIFACT
    STOPS[how](namespace, maker, stage)
    namespace.settle()
    taken = namespace.worlds[other].workloads()
    assert stage in taken or "serve/ada" in taken
    if maker in namespace.worlds:
        assert stage not in namespace.worlds[maker].workloads()
    namespace.run_to_end()
    assert namespace.worlds[other].condition("Ready")[1] == "Succeeded"


def test_a_suspended_run_takes_what_was_finished_meanwhile():
    namespace = two()
    maker, other = until(namespace, "prepare/prompts")
    namespace.worlds[other].change_spec(suspend=True)
    namespace.run_to_end()
    assert namespace.states("sft")[other] == ("Skipped", "CacheHit")
    namespace.delete(maker)
    namespace.worlds[other].change_spec(suspend=False)
    complete(namespace)
    assert not namespace.repeated
    assert "PyTorchJob:sft" not in namespace.worlds[other].started


def test_an_artifact_that_was_deleted_before_a_run_resolved_is_made_again():
    namespace = Namespace(a=sweep(1.0))
    complete(namespace)
    namespace.volume.clear()
    namespace.add("b", **sweep(1.0))
    complete(namespace)
    assert "PyTorchJob:sft" in namespace.worlds["b"].started


def test_what_was_taken_from_another_run_stays_complete_when_that_run_is_gone():
    sources = make_spec()["sources"]
    sources[0]["served"]["model"]["uri"] = "hf://lab/ada"
    pinned = pinned_of("tiny", make_spec(sources=sources))
    found = frozenset(pinned.digests) - {"fetch/ada", "generate/ada", "score/ada", "construct"}
    taken = StageStatus(name="generate/ada", state=StageState.SKIPPED, cache_hit=True)
    now = [share(pinned, found, Observed({}, {}), before, {}, START).needed for before in ({}, {taken.name: taken})]
    assert now[0] - now[1] == {"fetch/ada", "serve/ada", "generate/ada"}


def test_runs_with_other_claims_do_not_share():
    namespace = two()
    for name, world in namespace.worlds.items():
        text = world.run["spec"]
        world.run["spec"] = _with_claim(text, f"claim-{name}")
    namespace.settle()
    namespace.step()
    namespace.settle()
    assert set(namespace.states(SHARED).values()) == {("Running", "PodsPending")}


def _with_claim(value, claim):
    if isinstance(value, dict):
        return {k: _with_claim(v, claim) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_claim(v, claim) for v in value]
    return value.replace("fusion-data", claim) if isinstance(value, str) else value


def test_a_run_does_not_wait_forever_for_pods_that_do_not_start():
    namespace = two()
    maker, other = until(namespace, "sft")
    namespace.pass_time(minutes=29)
    assert "sft" not in namespace.worlds[other].workloads()
    namespace.pass_time(minutes=2)
    assert all("sft" in world.workloads() for world in namespace.worlds.values())
    namespace.worlds[other].place("sft")
    namespace.settle()
    assert "sft" not in namespace.worlds[maker].workloads()
    assert namespace.states("sft")[maker] == ("Waiting", "WaitingForArtifact")
    complete(namespace)
    assert not namespace.repeated


def test_the_workload_of_a_skipped_stage_is_deleted_again_if_that_failed():
    namespace = two()
    maker, other = until(namespace, "sft")
    namespace.pass_time(minutes=31)
    namespace.finish(maker, "sft")
    skipping = namespace.worlds[other]
    decision = decide(skipping.live(), skipping.settings, skipping.now)
    skipping.carry_out(replace(decision, delete=()))
    assert namespace.states("sft")[other] == ("Skipped", "CacheHit")
    assert "sft" in skipping.workloads()
    namespace.settle()
    assert "sft" not in skipping.workloads()


def test_of_two_runs_whose_pods_start_at_the_same_time_one_goes_on():
    namespace = two()
    until(namespace, "sft")
    namespace.pass_time(minutes=31)
    for world in namespace.worlds.values():
        world.place("sft")
    namespace.settle()
    assert ["sft" in world.workloads() for world in namespace.worlds.values()] == [True, False]


def test_a_preempted_pod_is_waited_for_again():
    namespace = two()
    maker, other = until(namespace, "sft")
    pod = namespace.worlds[maker].place("sft")
    namespace.settle()
    namespace.pass_time(hours=10)
    pod["status"] = {"phase": "Pending"}
    pod["metadata"]["creationTimestamp"] = format_time(namespace.now)
    namespace.pass_time(minutes=29)
    assert "sft" not in namespace.worlds[other].workloads()
    namespace.pass_time(minutes=2)
    assert "sft" in namespace.worlds[other].workloads()


def test_pods_that_run_are_waited_for():
    namespace = two()
    maker, other = until(namespace, "sft")
    namespace.worlds[maker].place("sft")
    namespace.settle()
    namespace.pass_time(days=3)
    assert "sft" not in namespace.worlds[other].workloads()


def test_a_retry_waits_if_another_run_has_taken_over():
    namespace = two()
    maker, other = until(namespace, "sft")
    namespace.worlds[maker].fail("sft", {"exitCode": 137})
    namespace.reconcile(other)
    assert "sft" in namespace.worlds[other].workloads()
    namespace.settle()
    namespace.pass_time(seconds=10)
    assert namespace.states("sft")[maker] == ("Waiting", "WaitingForArtifact")
    complete(namespace)
    assert namespace.states("sft")[maker] == ("Skipped", "CacheHit")


def test_decisions_are_level_based():
    namespace = two()
    until(namespace, "generate/ada")
    for world in namespace.worlds.values():
        decision = world.reconcile()
        assert (decision.create, decision.status, decision.delete) == ((), None, ())


ACTIONS = ("reconcile", "finish", "finish", "finish", "settle", "fail", "suspend", "resume", "delete", "place", "wait")
histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2), st.integers(0, 5)), max_size=40)


def act(namespace, action, number, index):
    """Do one thing to one of the runs."""
    names = sorted(namespace.worlds)
    name = names[number % len(names)]
    world = namespace.worlds[name]
    stages = sorted(s for s, m in world.workloads().items() if not (m.get("status") or {}).get("readyReplicas"))
    stage = stages[index % len(stages)] if stages else None
    match action:
        case "settle":
            namespace.settle()
        case "finish" if stage:
            namespace.finish(name, stage)
        case "place" if stage and not stage.startswith("serve/"):
            world.place(stage)
        case "wait":
            namespace.pass_time(minutes=31)
        case "fail" if stage and not stage.startswith("serve/") and index == 0:
            world.fail(stage, {"exitCode": 137})
        case "suspend" if index == 0:
            world.run["spec"]["suspend"] = True
        case "resume":
            world.run["spec"]["suspend"] = False
        case "delete" if len(names) > 1 and index == 0:
            namespace.delete(name)
            return
    if action != "finish" or index % 2:
        world.reconcile()
    namespace.tick()


@settings(quick, max_examples=15)
@given(histories)
def test_at_any_time_one_run_makes_an_artifact_and_all_runs_end(history):
    few = {"evaluation": {"benchmarks": []}}
    common = with_sources("ada", "bob") | few
    namespace = Namespace(a=common, b=common | sweep(2.0), c=with_sources("bob") | few)
    waited = False
    for action, number, index in history:
        act(namespace, action, number, index)
        waited = waited or action == "wait"
        if waited:
            namespace.settle()
        namespace.check(with_pods=waited)
    for world in namespace.worlds.values():
        world.run["spec"]["suspend"] = False
    namespace.run_to_end()
    for world in namespace.worlds.values():
        assert world.condition("Finished")[0] == "True", world.condition("Ready")
