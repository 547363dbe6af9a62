"""A run that only evaluates models, from its acceptance to its end."""

import json

from support.runs import UID, evaluation_only, make_run, measured
from support.world import World


def make(*models) -> World:
    metadata = {"name": "eval", "namespace": "lab", "uid": UID, "generation": 1}
    return World({"apiVersion": "fusionrun.dev/v1alpha1", "kind": "FusionRun", "metadata": metadata,
                  "spec": evaluation_only(*models)})  # fmt: skip


def test_the_run_completes_without_a_target():
    world = make(measured("ada"), measured("bob"))
    world.run_to_end()
    assert world.condition("Complete")[:2] == ("True", "Succeeded")
    assert world.condition("Ready")[2] == "the models are evaluated"
    assert world.condition("EvaluationPassed")[:2] == ("Unknown", "NoGate")
    status = world.run["status"]
    assert {s["state"] for s in status["stages"]} == {"Succeeded"}
    assert "dataset" not in status
    scores = {row["benchmark"]: [(s["model"], s["score"]) for s in row["scores"]] for row in status["results"]}
    assert scores == {name: [("ada", 40.0), ("bob", 40.0)] for name in ("math-test", "code-test")}
    assert not status["groups"]  # they compare with the published scores of a target


def test_the_training_backend_does_not_matter():
    world = make(measured("ada"))
    world.absent.add("pytorchjobs.kubeflow.org")
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"


def test_a_run_that_trains_fails_without_a_target():
    run = make_run()
    del run["spec"]["target"]
    world = World(run)
    world.settle()
    status, reason, message = world.condition("Failed")
    assert (status, reason) == ("True", "InvalidSpec")
    assert "spec.target: None: is required without evaluateOnly" in message
    assert not world.objects


def test_the_recorded_spec_is_read_again():
    """The run continues with the spec in its ConfigMap, which has no list of sources."""
    world = make(measured("ada"))
    world.settle()
    (kept,) = [o for o in world.objects.values() if o["metadata"]["name"] == "eval-spec"]
    assert json.loads(kept["data"]["spec.json"])["evaluateOnly"]["baseline"] == "ada"
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
