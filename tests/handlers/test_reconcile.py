"""One reconcile, with a decision from the test."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fusionrun import reconcile as reconcile_module
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.cluster.execute import Created
from fusionrun.cluster.other_runs import OtherRuns
from fusionrun.cluster.store import Store
from fusionrun.errors import ContractError
from fusionrun.metrics import Metrics
from fusionrun.reconcile import NEW_OBJECTS_SECONDS, WATCH_LAG_SECONDS, Reconciler
from fusionrun.state.decide.decision import Decision
from fusionrun.state.observe.live_objects import LiveObjects, Refusal
from fusionrun.state.observe.object_ref import ObjectRef

RUN = {
    "apiVersion": "fusionrun.dev/v1alpha1",
    "kind": "FusionRun",
    "metadata": {"name": "tiny", "namespace": "demo", "uid": "u"},
    "spec": {},
    "status": {},
}
JOB = {"kind": "Job", "metadata": {"name": "j"}}


class Recorder:
    """Gatherer, board and executor in one object, which records its calls."""

    def __init__(self, live, made=(), wait=0.0, refused=()):
        self.live, self.made, self.wait, self.did = live, list(made), wait, []
        self.refused = list(refused)
        self.other_runs = OtherRuns(Store())

    async def gather(self, run, pushed):
        self.did.append("gather")
        return self.live

    async def list_pods(self, live, workloads):
        self.did += [f"list {ref.name}" for ref in workloads]
        return replace(live, pods_listed=frozenset(workloads))

    def of(self, run):
        return {}

    def seconds_to_wait(self, run, before, decision):
        return self.wait

    async def create(self, run, manifests):
        self.did.append("create")
        if self.refused:
            return Created(self.made, self.refused.pop(0))
        return Created([] if self.did.count("create") > 1 else self.made, {})

    async def settle(self, run, decision, now):
        self.did.append("settle")


@pytest.fixture
def reconcile(tiny, monkeypatch):
    """Reconcile once; return the requeue time, the arguments of each decision, and the number of transitions."""

    async def run(recorder, decision, woken_at=None):
        seen = []

        def decide(*arguments):
            seen.append(arguments)
            return decision

        monkeypatch.setattr(reconcile_module, "decide", decide)
        metrics = Metrics(list)
        seconds = await Reconciler("settings", recorder, recorder, recorder, metrics, print).reconcile(tiny, woken_at)
        return seconds, seen, metrics.registry.get_sample_value("fusionrun_transition_seconds_count")

    return run


async def test_gather_decide_create_settle(reconcile):
    recorder = Recorder(LiveObjects(RUN))
    seconds, seen, _ = await reconcile(recorder, Decision(requeue_seconds=5.0))
    assert recorder.did == ["gather", "create", "settle"]
    assert seconds == 5.0
    live, settings, now = seen[0]
    assert (live, settings) == (recorder.live, "settings")
    assert abs((datetime.now(UTC) - now).total_seconds()) < 5


async def test_pods_are_listed_unless_their_watch_reports_them_in_time(tiny, monkeypatch):
    job = ObjectRef("batch/v1", "Job", "demo", "j")
    recorder, seen = Recorder(LiveObjects(RUN)), []
    wants, knows = Decision(list_pods=(job,), requeue_seconds=5.0), Decision(requeue_seconds=5.0)
    decisions = [wants, knows, wants, wants, knows]
    monkeypatch.setattr(reconcile_module, "decide", lambda live, *_: seen.append(live) or decisions.pop(0))
    reconciler = Reconciler("settings", recorder, recorder, recorder, Metrics(list), print)
    assert 0 < await reconciler.reconcile(tiny, None) <= WATCH_LAG_SECONDS
    assert await reconciler.reconcile(tiny, None) == 5.0  # an event has come
    await reconciler.reconcile(tiny, None)
    assert "list j" not in recorder.did
    monkeypatch.setattr(reconcile_module, "WATCH_LAG_SECONDS", 0.0)
    recorder.did.clear()
    assert await reconciler.reconcile(tiny, None) == 5.0
    assert recorder.did == ["gather", "list j", "create", "settle"]
    assert seen[-1].pods_listed == {job}


async def test_a_refusal_repeats_the_decision_and_the_rest_is_carried_out(reconcile):
    server, queue = (ObjectRef("apps/v1", "Deployment", "demo", name) for name in "ab")
    no = Refusal(403, "exceeded quota")
    recorder = Recorder(LiveObjects(RUN), refused=[{server: no}, {queue: no}])
    seconds, seen, _ = await reconcile(recorder, Decision(requeue_seconds=5.0))
    assert recorder.did == ["gather", "create", "create", "create", "settle"]
    assert [live.refused for live, _, _ in seen] == [{}, {server: no}, {server: no, queue: no}]
    assert seconds == 5.0


async def test_nothing_happens_for_a_deleted_run(reconcile):
    recorder = Recorder(None)
    assert await reconcile(recorder, Decision()) == (None, [], 0.0)
    assert recorder.did == ["gather"]


@pytest.mark.parametrize(
    ("requeue", "expected"), [(60.0, NEW_OBJECTS_SECONDS), (None, NEW_OBJECTS_SECONDS), (0.1, 0.1)]
)
async def test_a_run_with_new_objects_is_reconciled_again_soon(reconcile, requeue, expected):
    recorder = Recorder(LiveObjects(RUN), made=[JOB])
    seconds, _, transitions = await reconcile(recorder, Decision(requeue_seconds=requeue), time.monotonic())
    assert (seconds, transitions) == (expected, 1.0)


@pytest.mark.parametrize(("made", "woken_at"), [([JOB], None), ([], 1.0)])
async def test_only_a_watch_event_that_creates_an_object_is_a_transition(reconcile, made, woken_at):
    assert (await reconcile(Recorder(LiveObjects(RUN), made=made), Decision(), woken_at))[2] == 0.0


RECORD = Decision(status=FusionRunStatus(spec_digest="0" * 64), requeue_seconds=0.0)


async def test_objects_that_wait_for_digests_in_the_status_are_made_in_the_same_transition(tiny, monkeypatch):
    decisions = [RECORD, Decision(create=(JOB,))]
    monkeypatch.setattr(reconcile_module, "decide", lambda *_: decisions.pop(0))
    recorder, metrics = Recorder(LiveObjects(RUN)), Metrics(list)

    async def create(run, manifests):
        recorder.did.append(f"create {len(manifests)}")
        return Created(list(manifests), {})

    recorder.create = create
    assert (
        await Reconciler("settings", recorder, recorder, recorder, metrics, print).reconcile(tiny, time.monotonic())
        == NEW_OBJECTS_SECONDS
    )
    assert recorder.did == ["gather", "create 0", "settle", "gather", "create 1", "settle"]
    assert metrics.registry.get_sample_value("fusionrun_transition_seconds_count") == 1.0


async def test_a_status_that_does_not_keep_its_digests_is_an_error(reconcile):
    with pytest.raises(ContractError, match="install the CRD of this release"):
        await reconcile(Recorder(LiveObjects(RUN)), RECORD)


async def test_a_status_update_may_be_delayed(reconcile):
    recorder = Recorder(LiveObjects(RUN), wait=0.7)
    assert (await reconcile(recorder, Decision()))[0] == 0.7
    assert recorder.did == ["gather"]
