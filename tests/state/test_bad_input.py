"""Bad input that reached the operator: the run fails at once, with the field, the value and the rule.

tests/crd/broken has the same cases for the API server and the end-to-end test.
"""

from typing import Any

import pytest

from support.runs import CLAIM, make_run, make_spec
from support.world import World

KEPT = {"name": "kept", "type": "Dataset"}


def refused(**changes: Any) -> str:
    """Return the message of a run that was refused."""
    world = World(make_run(**changes))
    decision = world.reconcile()
    assert decision.create == ()
    assert decision.requeue_seconds is None
    for kind in ("Failed", "Finished", "Stalled"):
        assert world.condition(kind)[:2] == ("True", "InvalidSpec")
    assert world.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert [(e.type, e.reason) for e in decision.events] == [("Warning", "InvalidSpec")]
    return world.condition("Failed")[2]


def datasets(**first: Any) -> list[dict[str, Any]]:
    math, code = make_spec()["datasets"]
    return [math | first, code]


def sources(**first: Any) -> list[dict[str, Any]]:
    ada, bob = make_spec()["sources"]
    return [ada | first, bob]


def served(**settings: Any) -> dict[str, Any]:
    return {"model": {"uri": f"pvc://{CLAIM}/models/ada"}, **settings}


PLAN = [
    ({"training": {"nodes": 3}},
     "spec.training.sft.globalBatchSize: 128: must be a multiple of microBatchSize x nodes x processesPerNode = 3"),
    ({"sources": sources(served=served(extraArgs=["--trust-remote-code"]))},
     "spec.sources[ada].served.extraArgs: '--trust-remote-code': is not allowed"),
    ({"storage": {"claimName": "other"}},
     f"spec.target.model.uri: 'pvc://{CLAIM}/models/target': the claim must be storage.claimName"),
    ({"datasets": datasets(uri=f"pvc://{CLAIM}/../x.jsonl")},
     f"spec.datasets[math].uri: 'pvc://{CLAIM}/../x.jsonl': the path must not leave the claim"),
    ({"sources": [*sources(), KEPT], "datasets": datasets(sources=["ada", "bob", "kept"])},
     "spec.datasets[math].sources: 'kept': responsesColumns must have a column for a source of type Dataset"),
    ({"datasets": datasets(responsesColumns={"ada": "c"})},
     "spec.datasets[math].responsesColumns: 'ada': must be the name of a source of type Dataset"),
    ({"sources": [*sources(), KEPT]},
     "spec.sources: 'kept': no data set uses this source"),
    ({"sources": sources(name="eval-x")},
     "spec.sources[].name: 'eval-x': 'target', 'reward' and names that start with 'eval-' are reserved"),
    ({"datasets": datasets(task="SftOnly", samplesPerPrompt=3)},
     "spec.datasets[math].samplesPerPrompt: 3: must be 1 for task SftOnly"),
    ({"datasets": datasets(sources=["ada", "zed"])},
     "spec.datasets[math].sources: 'zed': must be the name of a source in spec.sources"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), PLAN, ids=[s.split(":")[0] + s.split(":")[1] for _, s in PLAN])
def test_what_only_the_plan_can_see(changes, says):
    assert says in refused(**changes)


SCHEMA = [
    ({"generation": {"surprise": 1}}, "spec.generation.surprise: 1: FusionRun "),
    ({"training": {"zeroStage": 4}}, "spec.training.zeroStage: 4: Input should be less than or equal to 3"),
    ({"sources": sources(sampling={"temperature": 3})}, "spec.sources.0.sampling.temperature: 3: Input should be less"),
    ({"sources": []}, "spec.sources: []: List should have at least 1 item"),
    ({"storage": {}}, "spec.storage.claimName: {}: Field required"),
    ({"construction": {"seed": -1}}, "spec.construction.seed: -1: Input should be greater than or equal to 0"),
    ({"recipe": "FuseChat-2.0"}, "spec.recipe: 'FuseChat-2.0': Input should be 'FuseChat-3.0'"),
    ({"publish": {"uri": "/etc"}}, "spec.publish.uri: '/etc': String should match pattern"),
]


@pytest.mark.parametrize(("changes", "says"), SCHEMA, ids=[s.split(":")[0] for _, s in SCHEMA])
def test_what_an_older_crd_let_pass(changes, says):
    assert says in refused(**changes)


def test_every_error_is_told_at_once():
    message = refused(training={"nodes": 3}, storage={"claimName": "other"})
    assert message.count("the claim must be storage.claimName") == 8
    assert "spec.training.sft.globalBatchSize" in message
    assert "spec.training.dpo.globalBatchSize" in message


def test_a_refused_run_is_left_alone():
    world = World(make_run(training={"nodes": 3}))
    world.settle()
    decision = world.reconcile()
    assert (decision.create, decision.status, decision.delete, decision.events) == ((), None, (), ())


def test_an_accepted_run_whose_spec_becomes_unreadable_waits_and_keeps_its_pods():
    """A value of a mutable field that another release's CRD lets pass."""
    world = World(make_run())
    world.settle()
    before = world.workloads()
    world.run["spec"]["backoffLimit"] = -1
    world.settle()
    assert world.condition("Ready")[:2] == ("False", "OperatorTooOld")
    assert "spec.backoffLimit: -1: " in world.condition("Ready")[2]
    assert world.condition("Failed")[0] == "False"
    assert world.workloads() == before
    world.run["spec"]["backoffLimit"] = 3
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
