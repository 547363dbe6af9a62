import pytest

from fusionrun.cluster import gather as gather_module
from fusionrun.cluster import late_workloads
from fusionrun.cluster.gather import CHILDREN, Gatherer, failed_container, list_namespace
from fusionrun.errors import ClusterError
from fusionrun.names import KIND, LABEL_ATTEMPT, LABEL_RUN, LABEL_STAGE
from fusionrun.plan.pod_size import NodeGpus
from fusionrun.state.observe.object_ref import ObjectRef, owned_by, ref_of, run_ref

TINY = run_ref("demo", "tiny")
CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "demo", "fusion-data")


@pytest.fixture
def gatherer(client, store, monkeypatch):
    monkeypatch.setattr(gather_module, "prerequisites", lambda _: (CLAIM,))
    return Gatherer(client, store)


@pytest.fixture
def put(store, client, make):
    """Store the run and other objects; its claim exists."""

    def add(*manifests):
        client.objects[CLAIM] = {}
        for manifest in (make.run(), *manifests):
            store.put(manifest)

    return add


def failed_pod(make, name="p", **container):
    status = {"name": "stage", "restartCount": 0, "state": {"terminated": {"exitCode": 2}}, **container}
    return make.child("Pod", name, owner="job-uid", status={"phase": "Failed", "containerStatuses": [status]})


async def gather(gatherer):
    return await gatherer.gather(TINY, {})


async def test_a_deleted_run_is_not_gathered(gatherer, store, make):
    assert await gather(gatherer) is None
    store.put(make.run(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert await gather(gatherer) is None


async def test_a_prerequisite_is_looked_up_until_it_exists(gatherer, client, store, make):
    store.put(make.run())
    assert (await gather(gatherer)).present == {CLAIM: False}
    assert (await gather(gatherer)).present == {CLAIM: False}
    client.objects[CLAIM] = {}
    assert (await gather(gatherer)).present == {CLAIM: True}
    assert (await gather(gatherer)).present == {CLAIM: True}
    assert client.verbs() == ["exists PersistentVolumeClaim"] * 3


async def test_a_prerequisite_that_cannot_be_looked_up_stops_only_a_new_run(gatherer, client, store, make):
    client.fail_on("exists", "PersistentVolumeClaim", 503, "the API server is starting")
    run = make.run()
    store.put(run)
    with pytest.raises(ClusterError, match="starting"):
        await gather(gatherer)
    version = str(int(run["metadata"]["resourceVersion"]) + 1)
    store.put(run | {"metadata": run["metadata"] | {"resourceVersion": version}, "status": {"specDigest": "d"}})
    assert (await gather(gatherer)).present == {}


async def test_each_run_looks_up_its_prerequisites(gatherer, client, store, make, put):
    put(make.run(name="other"))
    assert (await gather(gatherer)).present == {CLAIM: True}
    del client.objects[CLAIM]
    assert (await gatherer.gather(run_ref("demo", "other"), {})).present == {CLAIM: False}
    assert (await gather(gatherer)).present == {CLAIM: True}


async def test_a_new_claim_returns_the_runs_that_wait_for_it(gatherer, client, store, make):
    store.put(make.run())
    await gather(gatherer)
    assert gatherer.claim_changed(CLAIM, exists=True) == {TINY}
    assert gatherer.claim_changed(CLAIM, exists=True) == set()
    assert (await gather(gatherer)).present == {CLAIM: True}
    gatherer.claim_changed(CLAIM, exists=False)
    assert (await gather(gatherer)).present == {CLAIM: False}


async def test_the_objects_of_a_retried_run_are_listed_once(gatherer, client, store, make):
    """While the run was finished, only a part of its pods was stored."""
    pod = make.child("Pod", "p", 3, owner="job-uid", status={"phase": "Failed", "reason": "Evicted"})
    client.add(make.child("Job", "job", 2), pod)
    store.put(make.finished_run(4))
    for child in list(client.objects.values()):
        store.put(child)
    assert [c["kind"] for c in (await gather(gatherer)).children] == ["Job"]
    store.put(make.run(5))
    client.calls.clear()
    assert [c.get("status") for c in (await gather(gatherer)).children] == [None, pod["status"]]
    assert client.verbs().count("list Pod") == 1
    client.calls.clear()
    await gather(gatherer)
    assert not [verb for verb in client.verbs() if verb.startswith("list")]


async def test_a_retried_run_is_listed_again_if_a_list_fails(gatherer, client, store, make):
    store.put(make.finished_run(4))
    store.put(make.run(5))
    client.fail_on("list", "Pod", 500, "timeout")
    with pytest.raises(ClusterError):
        await gather(gatherer)
    client.fail.clear()
    client.calls.clear()
    await gather(gatherer)
    assert "list Pod" in client.verbs()


def test_objects_of_other_owners_are_ignored(make):
    job = make.child("Job", "job")
    children = [
        job,
        make.child("Job", "leftover", owner="an-older-run"),
        make.child("Pod", "pod", owner="job-uid"),
        make.child("Pod", "leftovers-pod", owner="leftover-uid"),
        make.child("ConfigMap", "stranger", metadata={"ownerReferences": None}),
    ]
    assert [c["metadata"]["name"] for c in owned_by("run-uid", children)] == ["job", "pod"]


@pytest.mark.parametrize(("kind", "between"), [("Deployment", "7d9f"), ("TrainJob", "node-0")])
def test_pods_are_owned_through_a_replica_set_or_a_job_set(make, kind, between):
    children = [
        make.child(kind, "mine-a"),
        make.child("Pod", "mine", owner="between-uid", owner_name=f"mine-a-{between}"),
        make.child("Pod", "other", owner="between2-uid", owner_name=f"mine-b-{between}"),
        make.child("Pod", "of-a-deleted-run", owner="between3-uid", owner_name=f"gone-{between}"),
        make.child(kind, "gone", owner="an-older-run"),
    ]
    assert [c["metadata"]["name"] for c in owned_by("run-uid", children)] == ["mine-a", "mine"]


async def test_a_recorded_pod_is_gathered_while_it_outlives_its_workload(gatherer, store, make, put):
    put(
        make.child("Pod", "terminating", owner="gone-uid", metadata={"uid": "recorded"}),
        make.child("Pod", "stranger", owner="gone-uid", metadata={"uid": "unknown"}),
    )
    assert (await gather(gatherer)).children == ()
    run = make.run()
    run["metadata"]["resourceVersion"] = "999999"
    pod = {"uid": "recorded", "startTime": "2026-01-02T03:04:05Z", "gpus": 1}
    run["status"] = {"stages": [{"name": "sft", "state": "Running", "gpuUsage": {"pods": [pod]}}]}
    store.put(run)
    assert [pod["metadata"]["name"] for pod in (await gather(gatherer)).children] == ["terminating"]


async def test_the_log_of_a_failed_pod_is_read_once(gatherer, client, make, put):
    put(make.child("Job", "job"), failed_pod(make), failed_pod(make, "without-a-log"))
    client.logs["p"] = "Traceback\nValueError: no column 'prompt'"
    for _ in range(2):
        assert (await gather(gatherer)).log_tails == {"p": client.logs["p"]}
    assert [name for verb, _, name in client.calls if verb == "log"].count("p") == 1


def test_the_first_container_that_failed_is_the_one_whose_log_is_read(make):
    ends = {"late": (1, "09"), "fine": (0, "01"), "first": (137, "05")}
    statuses = [
        {
            "name": n,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": f"2026-01-01T00:00:{at}Z"}},
        }
        for n, (code, at) in ends.items()
    ]
    assert failed_container(make.child("Pod", "p", status={"containerStatuses": statuses})) == ("first", 0, False)


def test_a_restarted_container_is_read_from_before_its_restart(make):
    pod = failed_pod(make, restartCount=3, state={"waiting": {}}, lastState={"terminated": {"exitCode": 1}})
    assert failed_container(pod) == ("stage", 3, True)
    assert failed_container(make.child("Job", "j")) is None
    assert failed_container(make.child("Pod", "p")) is None


OLD = {"creationTimestamp": "2026-01-01T00:00:00Z"}


def starting(make, name, node="n", reason="ContainerCreating"):
    waiting = {"name": "stage", "restartCount": 0, "state": {"waiting": {"reason": reason}}}
    status = {"phase": "Pending", "containerStatuses": [waiting]}
    return make.child("Pod", name, owner="job-uid", metadata=OLD, spec={"nodeName": node}, status=status)


async def test_events_are_read_for_objects_that_nothing_else_explains(gatherer, client, make, put):
    client.warnings = {"job-1-uid": "FailedAttachVolume: Multi-Attach error", "alone-uid": "FailedCreate: quota"}
    put(
        make.child("Job", "job", metadata=OLD),
        starting(make, "job-1"),
        starting(make, "job-2", reason="ImagePullBackOff"),
        starting(make, "job-3", node=""),
        make.child("Job", "alone", metadata=OLD),
        make.child("Job", "young"),
        make.child("Job", "over", metadata=OLD, status={"conditions": [{"type": "Failed", "status": "True"}]}),
        make.child("Job", "queued", metadata=OLD, spec={"suspend": True}),
    )
    client.warnings["job-2-uid"] = "Failed: ErrImagePull"
    for _ in range(2):
        assert set((await gather(gatherer)).warnings) == {"job-1-uid", "alone-uid"}
    assert client.verbs().count("list Event") == 1


async def test_an_error_of_the_list_of_events_is_ignored(gatherer, client, make, put, caplog):
    client.fail_on("list", "Event", 403, "forbidden")
    put(make.child("Job", "job", metadata=OLD))
    assert (await gather(gatherer)).warnings == {}
    assert "cannot list the events of namespace demo" in caplog.text


async def test_no_request_is_made_for_a_finished_run(gatherer, client, make, put):
    put(make.finished_run(2), make.child("Job", "job"), failed_pod(make))
    live = await gather(gatherer)
    assert [c["metadata"]["name"] for c in live.children] == ["job"]
    assert client.calls == []


async def test_the_pods_of_a_workload_are_listed_by_their_labels(gatherer, client, make, put):
    def labelled(kind, name, attempt, **more):
        labels = {LABEL_RUN: "tiny", LABEL_STAGE: "sft", LABEL_ATTEMPT: attempt}
        return make.child(kind, name, metadata={"labels": labels}, **more)

    job = labelled("Job", "job", "1")
    put(job)
    client.add(
        job, *(labelled("Pod", n, a, owner="job-uid") for a, n in (("0", "earlier"), ("1", "one"), ("1", "two")))
    )
    live = await gather(gatherer)
    client.calls.clear()
    known = await gatherer.list_pods(live, [ref_of(job)])
    assert known.pods_listed == {ref_of(job)}
    assert [c["metadata"]["name"] for c in known.children] == ["job", "one", "two"]
    assert client.verbs() == ["list Pod", "get Job"], "the workload is read after its pods"
    client.add(labelled("Job", "job", "1", version=2, spec={"suspend": True}))
    known = await gatherer.list_pods(live, [ref_of(job)])
    assert known.children[0]["spec"] == {"suspend": True}
    del client.objects[ref_of(job)]
    assert (await gatherer.list_pods(live, [ref_of(job)])).children == (), "its pods belong to no object of the run"
    client.fail_on("list", "Pod", 503, "away")
    with pytest.raises(ClusterError, match="away"):
        await gatherer.list_pods(live, [ref_of(job)])


async def test_a_workload_whose_pods_have_ended_is_read_if_no_watch_says_so(gatherer, client, make, put, monkeypatch):
    def child(kind, name, **more):
        labels = {LABEL_RUN: "tiny", LABEL_STAGE: "sft", LABEL_ATTEMPT: "0"}
        return make.child(kind, name, metadata={"labels": labels}, **more)

    pod = child("Pod", "pod", owner="job-uid", status={"phase": "Running"})
    put(child("Job", "job"), pod)
    client.add(child("Job", "job"))
    now = [0.0]
    monkeypatch.setattr(late_workloads.time, "monotonic", lambda: now[0])

    async def reads(at):
        now[0] = at
        client.calls.clear()
        await gather(gatherer)
        return "get Job" in client.verbs()

    assert not await reads(0)
    put(child("Pod", "pod", version=2, owner="job-uid", status={"phase": "Failed"}))
    assert [await reads(at) for at in (100, 105, 110, 115, 120)] == [False, False, True, False, True]
    client.fail_on("get", "Job", 503, "away")
    assert await reads(130), "an error is logged"
    client.add(child("Job", "job", version=9, status={"conditions": [{"type": "Complete", "status": "True"}]}))
    client.fail.clear()
    assert await reads(140)
    assert not await reads(200)


async def test_a_job_whose_pods_have_succeeded_is_not_read(gatherer, client, make, put, monkeypatch):
    """Its stage has ended. With many Jobs, the controller says a minute later that it is complete."""
    labels = {LABEL_RUN: "tiny", LABEL_STAGE: "verify", LABEL_ATTEMPT: "0"}
    metadata = {"labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    put(make.child("Job", "job", metadata=metadata))
    put(make.child("Pod", "job-0", metadata=metadata, owner="job-uid", status={"phase": "Succeeded"}))
    now = [0.0]
    monkeypatch.setattr(late_workloads.time, "monotonic", lambda: now[0])
    for at in (0, 60, 120):
        now[0] = at
        await gather(gatherer)
    assert not {"get Job", "list Event"}.intersection(client.verbs())


async def test_a_deleted_workload_without_pods_is_read_if_no_watch_says_that_it_is_gone(
    gatherer, client, make, put, monkeypatch
):
    labels = {LABEL_RUN: "tiny", LABEL_STAGE: "sft", LABEL_ATTEMPT: "0"}
    put(make.child("Job", "job", metadata={"labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}))
    now = [0.0]
    monkeypatch.setattr(late_workloads.time, "monotonic", lambda: now[0])
    left = []
    for at in (0, 5, 10):
        now[0] = at
        left.append(len((await gather(gatherer)).children))
    assert left == [1, 1, 0]


async def test_a_list_whose_state_expired_between_its_pages_is_started_again(client, store, make):
    client.add(*(make.child("Job", f"job-{number}") for number in range(5)))
    client.page_size = 2
    client.expirations = 1
    assert await list_namespace(client, store, "") == {TINY}
    assert len(store.children(TINY)) == 5
    client.expirations = 100
    with pytest.raises(ClusterError) as caught:
        await list_namespace(client, store, "")
    assert caught.value.status == 410


async def test_a_list_finds_changes_that_the_watches_missed(client, store, make):
    store.put(make.child("Job", "gone", 3))
    await client.create(make.run())
    assert await list_namespace(client, store, "") == {TINY}
    assert store.get(TINY)
    assert store.children(TINY) == []
    assert client.verbs()[1:] == [f"list {kind}" for kind in (KIND, *(kind for _, kind in CHILDREN))]
    assert await list_namespace(client, store, "") == set()


def node(name, **gpus):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "namespace": "", "labels": {"pool": name}},
        "status": {"allocatable": {"cpu": "64", **{f"{k}.com/gpu": v for k, v in gpus.items()}}},
    }


async def test_nodes_are_listed_until_a_run_is_resolved_and_only_if_asked(client, store, make, gatherer, monkeypatch):
    client.add(node("cpu"), node("empty", nvidia="0"), node("eight", nvidia="8"))
    store.put(make.run())
    assert (await gatherer.gather(TINY, {})).nodes == ()
    checking = Gatherer(client, store, check_nodes=True)
    nodes = (NodeGpus({"pool": "eight"}, {"nvidia.com/gpu": 8}),)
    assert (await checking.gather(TINY, {})).nodes == nodes
    store.put(make.run(2) | {"status": {"specDigest": "d"}})  # the task of resolve has the memory of a GPU
    assert (await checking.gather(TINY, {})).nodes == nodes
    digests = {"specDigest": "d", "resolvedDigest": "r"}  # written before the status with the estimate
    running = {"name": "resolve", "kind": "resolve", "state": "Running"}
    store.put(make.run(3) | {"status": digests | {"stages": [running]}})
    assert (await checking.gather(TINY, {})).nodes == nodes
    store.put(make.run(4) | {"status": digests | {"stages": [running | {"state": "Succeeded"}]}})
    assert (await checking.gather(TINY, {})).nodes == ()
    assert client.verbs().count("list Node") == 1


async def test_nodes_that_cannot_be_listed_are_not_compared(client, store, make, gatherer):
    client.fail_on("list", "Node", 403, "forbidden")
    store.put(make.run())
    assert (await Gatherer(client, store, check_nodes=True).gather(TINY, {})).nodes == ()


async def test_the_latest_times_of_finished_runs_are_known_until_the_run_is_deleted(gatherer, store, make, put):
    def ended(name, namespace, *works):
        run = make.finished_run()
        run["metadata"] |= {"name": name, "namespace": namespace}
        stages = [{"endTime": at, "work": {"digest": digest, "seconds": seconds}} for digest, at, seconds in works]
        run["status"]["stages"] = [{"name": "resolve"}, *stages]
        store.put(run)
        return run_ref(namespace, name)

    put()
    runs = [
        ended("old", "demo", ("a", "2026-01-02T00:00:00Z", 2), ("b", "2026-01-02T00:00:00Z", 3)),
        ended("new", "demo", ("a", "2026-01-03T00:00:00Z", 5)),
        ended("older", "demo", ("a", "2026-01-01T00:00:00Z", 7)),
        ended("elsewhere", "other", ("c", "2026-01-03T00:00:00Z", 11)),
    ]
    for run in runs:
        await gatherer.gather(run, {})
    assert (await gather(gatherer)).work == {"a": 5, "b": 3}
    gatherer.forget(runs[0])
    assert (await gather(gatherer)).work == {"a": 5}
