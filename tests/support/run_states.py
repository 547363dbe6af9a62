"""A FusionRun in each of its states, as the operator leaves it in a simulated cluster."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.names import ANNOTATION_RETRY
from support.runs import CLAIM, evaluation_only, make_run, make_spec, measured
from support.world import World

Manifest = dict[str, Any]
GPU = {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}}
BENCHMARK = {"name": "math-500", "uri": f"pvc://{CLAIM}/benchmarks/math-500.jsonl", "grader": "Mathematics"}
RETRY = "2026-01-03T09:00:00Z"
WRONG_INPUT = encode_result(
    StageResult(outcome=Outcome.FAILED, user_error=True, message="math-500.jsonl: no column 'problem'")
)
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/9 nodes are available: 9 Insufficient nvidia.com/gpu.",
}


def new(**changes: Any) -> World:
    """Return the world of a new run, which measures one model on one GPU."""
    run = make_run("measured")
    run["spec"] = evaluation_only(measured("ada"))
    run["spec"]["evaluation"] = {
        "server": {"resources": GPU},
        "benchmarks": [BENCHMARK | {"columns": {"prompt": "problem", "answer": "answer"}}],
    }
    run["spec"] |= changes
    return World(run)


def pending() -> Manifest:
    """Return a run that no operator has seen."""
    return new().run


def waiting() -> Manifest:
    """Return a run whose claim does not exist."""
    world = new()
    world.absent.add(CLAIM)
    world.settle()
    return world.run


def running() -> Manifest:
    """Return a run whose stages run."""
    world = new()
    world.settle()
    world.place("resolve")
    world.settle()
    return world.run


def waiting_for_gpus() -> Manifest:
    """Return a run whose only pod has found no node with a GPU for an hour."""
    world = new()
    world.run_until("serve/eval-ada")
    pod = world.place("serve/eval-ada")
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending", "conditions": [UNSCHEDULABLE]}
    world.pass_time(hours=1)
    return world.run


def suspended() -> Manifest:
    """Return a run that was suspended while its stages ran."""
    world = new()
    world.run_until("serve/eval-ada")
    world.change_spec(suspend=True)
    return world.run


def resumed() -> Manifest:
    """Return a suspended run that was resumed, which the operator has not seen."""
    run = suspended()
    run["spec"]["suspend"] = False
    run["metadata"]["generation"] += 1
    return run


def complete() -> Manifest:
    """Return a run that has succeeded."""
    world = new()
    world.complete()
    return world.run


def changed() -> Manifest:
    """Return a run that has succeeded and was changed since, which the operator has not seen."""
    run = complete()
    run["spec"]["ttlSecondsAfterFinished"] = 3600
    run["metadata"]["generation"] += 1
    return run


def gate_failed() -> Manifest:
    """Return a run that has trained a model which missed a gate."""
    gate = [{"benchmark": "math-test", "against": "Base", "minDelta": 50}]
    evaluation = make_spec()["evaluation"] | {"gate": gate}
    world = World(make_run("gated", evaluation=evaluation, publish={"uri": f"pvc://{CLAIM}/published"}))
    world.complete()
    return world.run


def failed() -> Manifest:
    """Return a run with a stage that has failed."""
    return _failed().run


def invalid() -> Manifest:
    """Return a run with a field that breaks a rule which admission cannot check."""
    world = new(storage={"claimName": "other"})
    world.settle()
    return world.run


def retry_requested() -> Manifest:
    """Return a failed run whose annotation requests a retry, which the operator has not seen."""
    run = failed()
    run["metadata"]["annotations"] = {ANNOTATION_RETRY: RETRY}
    return run


def retried() -> Manifest:
    """Return a failed run that continues after a retry."""
    world = _failed()
    world.run["metadata"]["annotations"] = {ANNOTATION_RETRY: RETRY}
    world.settle()
    return world.run


def failed_again() -> Manifest:
    """Return a run that has failed again after a retry."""
    world = _failed()
    world.run["metadata"]["annotations"] = {ANNOTATION_RETRY: RETRY}
    world.settle()
    world.fail("prepare/benchmarks", {"exitCode": 2, "message": WRONG_INPUT})
    world.settle()
    return world.run


def _failed() -> World:
    world = new()
    world.run_until("prepare/benchmarks")
    world.fail("prepare/benchmarks", {"exitCode": 2, "message": WRONG_INPUT})
    world.settle()
    return world


class State(NamedTuple):
    """A state, and how GitOps tools show it."""

    make: Callable[[], Manifest]
    argo_cd: str
    kstatus: str
    """Health for ``helm --wait`` and Flux without expressions."""
    flux: str
    """Health for Flux with the expressions of the example repository."""


STATES = {
    "pending": State(pending, "Progressing", "InProgress", "InProgress"),
    "waiting": State(waiting, "Progressing", "InProgress", "InProgress"),
    "running": State(running, "Progressing", "InProgress", "Current"),
    "waiting_for_gpus": State(waiting_for_gpus, "Progressing", "InProgress", "Current"),
    "suspended": State(suspended, "Suspended", "InProgress", "Current"),
    "resumed": State(resumed, "Progressing", "InProgress", "InProgress"),
    "complete": State(complete, "Healthy", "Current", "Current"),
    "changed": State(changed, "Progressing", "InProgress", "InProgress"),
    "gate_failed": State(gate_failed, "Degraded", "Current", "Failed"),
    "failed": State(failed, "Degraded", "Failed", "Failed"),
    "invalid": State(invalid, "Degraded", "Failed", "Failed"),
    "retry_requested": State(retry_requested, "Progressing", "Failed", "InProgress"),
    "retried": State(retried, "Progressing", "InProgress", "Current"),
    "failed_again": State(failed_again, "Degraded", "Failed", "Failed"),
}
