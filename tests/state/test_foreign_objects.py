"""Objects that carry the labels of a run and are not its own."""

import copy

import pytest

from fusionrun.names import LABEL_ATTEMPT
from fusionrun.state.observe.object_ref import owned_by, ref_of
from support.runs import UID, make_run
from support.world import World


def training() -> World:
    world = World(make_run())
    world.run_until("sft")
    return world


def copied(world: World, name: str, owner: str | None) -> dict:
    """Return a copy of the running training job with another name, a failure, and another owner or none."""
    job = copy.deepcopy(world.workloads()["sft"])
    job["metadata"] |= {"name": name, "uid": name}
    job["metadata"]["ownerReferences"] = [{"kind": "FusionRun", "name": "tiny", "uid": owner}] if owner else []
    job["metadata"]["labels"][LABEL_ATTEMPT] = "7"
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    return job


@pytest.mark.parametrize("owner", [None, "another-run"])
def test_a_job_with_copied_labels_is_ignored(owner):
    world = training()
    foreign = copied(world, "foreign", owner)
    world.objects[ref_of(foreign)] = foreign
    before = world.status
    world.settle()
    assert world.status == before
    world.complete()
    assert ref_of(foreign) in world.objects, "it is not deleted"


def test_a_job_that_names_the_run_as_its_owner_counts_as_an_attempt():
    """Whoever may create Jobs in the namespace can do that. Kubernetes deletes such an object with the run."""
    world = training()
    forged = copied(world, "forged", UID)
    world.objects[ref_of(forged)] = forged
    world.settle()
    assert world.stage("sft").attempt == 8, "a failed attempt without pods was disrupted"


def pod(name: str, owner: str, owner_name: str = "job") -> dict:
    owners = [{"kind": "Job", "name": owner_name, "uid": owner}] if owner else []
    return {"kind": "Pod", "metadata": {"name": name, "uid": name, "ownerReferences": owners}}


def test_a_pod_belongs_to_a_run_if_a_workload_of_the_run_owns_it():
    """A pod that names a Job as its owner is one of its pods, also for the Job's controller."""
    job = {"kind": "Job", "metadata": {"name": "job", "uid": "j", "ownerReferences": [{"name": "tiny", "uid": UID}]}}
    pods = [pod("own", "j"), pod("foreign", ""), pod("of-another-job", "k"), pod("same-name", "k", "job")]
    assert [o["metadata"]["name"] for o in owned_by(UID, [job, *pods])] == ["job", "own"]


@pytest.mark.parametrize("label", ["x", "-1", "", "9" * 63, "²"])
def test_a_changed_label_of_an_attempt_does_not_stop_the_decisions(label):
    world = training()
    world.workloads()["sft"]["metadata"]["labels"][LABEL_ATTEMPT] = label
    world.settle()
    assert world.stage("sft").state == "Running"
    world.complete()
