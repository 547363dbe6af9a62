import pytest

from fusionrun.state.observe.object_ref import ref_of, run_of, run_ref

TINY = run_ref("demo", "tiny")


def test_the_newer_version_wins_in_any_order(store, make):
    assert store.put(make.child("Job", "a", 9))
    assert not store.put(make.child("Job", "a", 8))
    assert not store.put(make.child("Job", "a", 9)), "the watch event of a write is no change"
    assert store.put(make.child("Job", "a", 10, spec={"suspend": True})), "versions are compared as numbers"
    assert store.get(ref_of(make.child("Job", "a")))["metadata"]["resourceVersion"] == "10"


def test_a_state_that_differs_in_no_kept_field_is_no_change(store, make):
    """Most states of a Job and its pods only count pods, for their own controller."""
    store.put(make.child("Job", "a", 9, status={"active": 1}))
    before = store.children(TINY)
    assert not store.put(make.child("Job", "a", 11, status={"active": 1, "ready": 1}))
    assert store.children(TINY)[0] is before[0], "what was observed of it is still known"
    assert not store.put(make.child("Job", "a", 10, status={"startTime": "2026-01-02T03:04:05Z"})), "an older one"
    assert store.put(make.child("Job", "a", 12, status={"startTime": "2026-01-02T03:04:05Z"}))
    store.put(make.run(20))
    read = store.get(TINY)
    assert not store.put(make.run(21))
    assert (read["metadata"]["resourceVersion"], store.get(TINY)["metadata"]["resourceVersion"]) == ("20", "21")


def test_a_deleted_object_stays_deleted_when_a_late_reply_comes(store, make):
    job = make.child("Job", "a", 5)
    assert store.put(job)
    assert store.remove(ref_of(job), "7")
    assert not store.put(make.child("Job", "a", 6))
    assert store.children(TINY) == []
    assert store.put(make.child("Job", "a", 8)), "a new object of the same name"


def test_a_deletion_reported_before_the_create_reply_is_remembered(store, make):
    job = make.child("Job", "a", 5)
    assert not store.remove(ref_of(job), "6")
    assert not store.put(job)


def test_a_late_deletion_does_not_remove_a_new_object(store, make):
    job = make.child("Job", "a", 9)
    store.put(job)
    assert not store.remove(ref_of(job), "5")
    assert store.get(ref_of(job))


def test_a_list_removes_absent_objects_and_keeps_newer_ones(store, make):
    store.put(make.child("Job", "gone", 3))
    store.put(make.child("Job", "changed", 3))
    store.put(make.child("Job", "made-since", 12))
    store.put(make.child("ConfigMap", "other-kind", 3))
    changed = make.child("Job", "changed", 8, spec={"suspend": True})
    assert store.put(changed)
    assert store.remove_absent("batch/v1", "Job", "", {ref_of(changed)}, "10") == {TINY}
    assert {c["metadata"]["name"] for c in store.children(TINY)} == {"changed", "made-since", "other-kind"}


def test_a_list_of_one_namespace_leaves_the_others_alone(store, make):
    store.put(make.child("Job", "a", 3, metadata={"namespace": "other"}))
    store.remove_absent("batch/v1", "Job", "demo", set(), "10")
    assert len(store.children(run_ref("other", "tiny"))) == 1


def test_old_deletions_are_forgotten(store, make):
    for i in range(50):
        job = make.child("Job", f"j{i}", 5)
        store.put(job)
        store.remove(ref_of(job), "6")
    for version in ("10", "20", "30"):
        store.remove_absent("batch/v1", "Job", "", set(), version)
    assert store.deleted == {}


def test_a_deleted_object_is_terminating_until_its_end_is_reported(store, make):
    job, at = make.child("Job", "a", 5), "2026-01-02T03:04:05Z"
    store.put(job)
    store.deleting(ref_of(job), "a-uid", at)
    assert store.get(ref_of(job))["metadata"]["deletionTimestamp"] == at
    store.put(make.child("Job", "a", 6))
    assert store.get(ref_of(job))["metadata"]["deletionTimestamp"] == at, "a slow watch reports an older state"
    store.remove(ref_of(job), "7")
    store.put(make.child("Job", "a", 8, metadata={"uid": "successor"}))
    assert "deletionTimestamp" not in store.get(ref_of(job))["metadata"]
    store.deleting(ref_of(job), "a-uid", at)
    assert "deletionTimestamp" not in store.get(ref_of(job))["metadata"], "the UID is that of another object"


def test_less_is_stored_of_the_objects_of_a_finished_run(store, make):
    def pod(name):
        return make.child("Pod", name, spec={}, status={"phase": "Running", "podIP": "10.0.0.7"})

    store.put(pod("before"))
    store.put(make.finished_run(2))
    store.put(pod("after"))
    assert ["status" in child for child in store.children(TINY)] == [False, False]
    assert store.pod_at("10.0.0.7") is None
    store.remove(TINY, "9")
    store.put(make.run(10, uid="successor"))
    store.put(pod("of-the-successor"))
    assert store.pod_at("10.0.0.7")["metadata"]["name"] == "of-the-successor"


def test_objects_of_a_run_are_found_by_label(store, make):
    store.put(make.run())
    store.put(make.child("Job", "b"))
    store.put(make.child("Job", "a"))
    store.put(make.child("Job", "stranger", metadata={"labels": {}}))
    assert [c["metadata"]["name"] for c in store.children(TINY)] == ["a", "b"]
    assert run_of(make.run()) == TINY
    assert run_of(make.child("Job", "x", metadata={"labels": {}})) is None


ADDRESS = "10.0.0.7"


def running(make, name="p", version=1, phase="Running", **spec):
    return make.child("Pod", name, version, spec=spec, status={"phase": phase, "podIP": ADDRESS})


def test_a_pod_is_found_by_its_address_until_it_ends(store, make):
    store.put(running(make))
    assert store.pod_at(ADDRESS)["metadata"]["name"] == "p"
    assert store.pod_at("10.0.0.8") is None
    store.put(running(make, version=2, phase="Succeeded"))
    assert store.pod_at(ADDRESS) is None


@pytest.mark.parametrize(
    ("of_job", "of_pod", "owned"),
    [("run-uid", "job-uid", True), ("other-uid", "job-uid", False), ("run-uid", "no-uid", False)],
    ids=["owned by a job of the run", "owned by a job of another run", "owned by nobody"],
)
def test_a_pod_is_one_of_a_run_only_if_an_object_of_the_run_owns_it(store, make, of_job, of_pod, owned):
    store.put(make.child("Job", "job", owner=of_job))
    store.put(running(make) | {"metadata": make.child("Pod", "p", owner=of_pod)["metadata"]})
    assert store.pod_at(ADDRESS)
    assert store.owned_pod_at(ADDRESS) is None, "there is no run yet"
    store.put(make.run())
    assert (store.owned_pod_at(ADDRESS) is not None) is owned
    assert store.owned_pod_at("10.0.0.8") is None


def test_a_pod_on_the_host_network_is_not_found_by_its_address(store, make):
    store.put(running(make, hostNetwork=True))
    assert store.pod_at(ADDRESS) is None


def test_an_address_may_be_reused_by_another_pod(store, make):
    store.put(running(make, "old"))
    store.put(running(make, "new", 2))
    store.remove(ref_of(running(make, "old")), "3")
    assert store.pod_at(ADDRESS)["metadata"]["name"] == "new"
