"""``training.backend: Auto`` is decided once, when the run is accepted, from what the cluster serves."""

import json

import pytest

from fusionrun.api.status.conditions import Reason
from fusionrun.state.decide.prerequisites import prerequisites
from support.runs import evaluation_only, make_run, make_spec, measured
from support.world import World

PYTORCH_JOBS, TRAIN_JOBS, JOB_SETS = (
    "pytorchjobs.kubeflow.org",
    "trainjobs.trainer.kubeflow.org",
    "jobsets.jobset.x-k8s.io",
)
CRDS = {PYTORCH_JOBS, TRAIN_JOBS, JOB_SETS}


def looked_up(run: dict) -> set[str]:
    return {ref.name for ref in prerequisites(run) if ref.kind == "CustomResourceDefinition"}


def recorded(world: World) -> str:
    (spec,) = [json.loads(o["data"]["spec.json"]) for o in world.of_kind("ConfigMap") if "spec.json" in o["data"]]
    return spec["training"]["backend"]


@pytest.mark.parametrize("field", [{}, {"backend": "Auto"}], ids=["omitted", "Auto"])
@pytest.mark.parametrize(
    ("absent", "backend"),
    [
        (set(), "PyTorchJob"),
        ({TRAIN_JOBS, JOB_SETS}, "PyTorchJob"),
        ({PYTORCH_JOBS}, "TrainJob"),
        ({PYTORCH_JOBS, JOB_SETS}, "Job"),
        (CRDS, "Job"),
    ],
)
def test_auto_is_the_first_backend_that_the_cluster_serves(field, absent, backend):
    world = World(make_run(training=field), absent=set(absent))
    world.settle()
    assert (world.status.training_backend, recorded(world)) == (backend, backend)
    world.absent = CRDS - absent  # another choice now
    world.settle()
    assert (world.status.training_backend, recorded(world)) == (backend, backend)
    world.absent.clear()
    world.complete()
    trained = {kind for kind, _, stage in (label.partition(":") for label in world.started) if stage in ("sft", "dpo")}
    assert trained == {backend}


def test_a_run_that_waits_has_not_chosen_yet():
    world = World(make_run(), absent={*CRDS, "fusion-data"})
    world.settle()
    assert world.condition("Ready")[1] == Reason.CLAIM_MISSING
    assert world.status.training_backend is None
    world.absent.clear()
    world.settle()
    assert world.status.training_backend == "PyTorchJob"


def test_the_choice_survives_the_loss_of_the_recorded_spec():
    world = World(make_run(), absent=set(CRDS))
    world.run_until("sft")
    world.absent.clear()
    for ref in [ref for ref in world.objects if ref.name == "tiny-spec"]:
        del world.objects[ref]
    world.settle()
    assert recorded(world) == "Job"
    world.complete()


@pytest.mark.parametrize(
    ("backend", "absent"), [("TrainJob", TRAIN_JOBS), ("TrainJob", JOB_SETS), ("PyTorchJob", PYTORCH_JOBS)]
)
def test_a_given_backend_is_waited_for(backend, absent):
    world = World(make_run(training={"backend": backend}), absent={absent})
    world.settle()
    _, reason, message = world.condition("Ready")
    assert reason == Reason.TRAINING_OPERATOR_MISSING
    assert message.startswith(
        f"spec.training.backend: {backend!r}: the cluster has no such kind (CRD {absent}): install "
    )
    world.absent.clear()
    world.complete()


def test_a_missing_gang_scheduler_is_waited_for():
    world = World(make_run(training={"gang": {"scheduler": "Volcano"}}), absent={"podgroups.scheduling.volcano.sh"})
    world.settle()
    assert world.condition("Ready")[1] == Reason.GANG_SCHEDULER_MISSING
    world.absent.clear()
    world.complete()
    assert world.created.count("PodGroup:sft") == 1


def test_only_what_can_still_change_the_choice_is_looked_up():
    """What does not exist is looked up in every reconcile."""
    run = make_run()
    assert looked_up(run) == CRDS
    assert looked_up(run | {"status": {"trainingBackend": "Job"}}) == set()
    assert looked_up(run | {"status": {"trainingBackend": "PyTorchJob"}}) == {PYTORCH_JOBS}
    assert looked_up(run | {"status": {"trainingBackend": "Unknown"}}) == CRDS
    assert looked_up(run | {"spec": make_spec(training={"backend": "TrainJob"})}) == CRDS - {PYTORCH_JOBS}
    assert looked_up(run | {"spec": evaluation_only(measured("ada"))}) == set()
