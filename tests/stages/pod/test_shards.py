"""Pods of a stage take its shards in turn: each shard is made once, also if a pod is killed."""

import threading
import time

import pytest

from fusionrun.api.artifacts import ArtifactManifest, lease_name
from fusionrun.api.records import SCHEMA_VERSION
from fusionrun.api.results.values import Scored
from fusionrun_stages.pod.lease import STALE_SECONDS, Holder, Lease, holder_of
from fusionrun_stages.pod.shards import Worker, make_shards
from fusionrun_stages.volume.manifest import write_manifest
from support.stage import make_work

from .test_lease import age, wait_for

SHARDS = 6


pytestmark = pytest.mark.usefixtures("quick_leases")


class Pod:
    """A pod that makes shards in a thread; ``hold`` stops it in its first shard until the event is set."""

    def __init__(self, folder, number, workers=2, uid=None, hold=None, run="r"):
        parameters = {
            "kind": "score", "source": "s", "promptsDir": "p", "responsesDir": "q", "shards": SHARDS,
            "batchSize": 1, "maxLength": 9,
        }  # fmt: skip
        self.reports = []
        self.work = make_work(folder, parameters, shard=0, uid=uid or f"pod-{number}", report=self.report)
        self.worker = Worker(f"n/{run}/score", number, workers)
        self.made, self.counted, self.hold = [], None, hold
        self.thread = threading.Thread(target=self.run, daemon=True)

    def report(self, done, total, unit="", **numbers):
        self.reports.append((done, total, unit))

    def lease_of(self, shard):
        path = self.work.output / lease_name(shard, SHARDS)
        return Lease(path, self.worker.holder(self.work.pod_uid), lambda: False, lambda _: None, lambda: None)

    def make(self, work):
        self.made.append(work.shard)
        if self.hold is not None:
            assert self.hold.wait(30)
        work.report(1, 2, "responses")
        time.sleep(0.002)  # so that both pods get shards
        values = Scored(scored=1)
        manifest = ArtifactManifest(
            schema_version=SCHEMA_VERSION, stage="score", digest="d", files={}, values=values,
            details=self.worker.details,
        )  # fmt: skip
        write_manifest(work.output, manifest, work.shard, SHARDS)

    def run(self):
        self.counted = make_shards(self.work, self.worker, self.lease_of, self.make)

    def start(self):
        self.thread.start()
        return self

    def ends(self):
        self.thread.join(30)
        return not self.thread.is_alive()


def test_each_shard_is_made_by_one_of_the_pods_and_counts_once(tmp_path):
    pods = [Pod(tmp_path, number, workers=3).start() for number in range(3)]
    assert all(pod.ends() for pod in pods)
    assert sorted(shard for pod in pods for shard in pod.made) == list(range(SHARDS))
    assert [len(pod.counted) for pod in pods] == [len(pod.made) for pod in pods]
    assert not list(tmp_path.glob("lease*"))


def test_a_pod_does_not_wait_for_the_last_shard_of_another(tmp_path):
    hold = threading.Event()
    slow = Pod(tmp_path, 1, hold=hold).start()
    wait_for(lambda: slow.made)
    quick = Pod(tmp_path, 0).start()
    assert quick.ends()
    assert len(quick.made) == SHARDS - 1
    hold.set()
    assert slow.ends()
    assert len(slow.made) == len(slow.counted) == 1
    assert slow.reports[0] == (500, 1000 * SHARDS, "responses")
    assert quick.reports[-2:] == [
        (1000 * (SHARDS - 2) + 500, 1000 * SHARDS, "responses"),
        (1000 * (SHARDS - 1), 1000 * SHARDS, ""),
    ]


def lock(folder, shard, holder):
    path = folder / lease_name(shard, SHARDS)
    Lease(path, holder, lambda: False, lambda _: None, lambda: None)._create()
    return path


def test_the_shard_of_a_killed_pod_is_made_by_its_replacement_at_once(tmp_path):
    lock(tmp_path, 3, Holder("n/r/score#1", "killed"))
    replacement = Pod(tmp_path, 1, uid="replacement").start()
    assert replacement.ends()
    assert replacement.made[0] == 3


@pytest.mark.parametrize("holder", ["n/r/score#1", "n/other/score#0", "n/other/score", "n/r/score#2"])
def test_the_shard_of_a_killed_pod_is_made_by_another_when_its_lease_is_stale(tmp_path, holder):
    age(lock(tmp_path, 3, Holder(holder, "killed")), STALE_SECONDS + 1)
    pod = Pod(tmp_path, 0).start()
    assert pod.ends()
    assert sorted(pod.made) == list(range(SHARDS))


@pytest.mark.parametrize("holder", ["n/other/score#1", "n/other/score", "n/r/score#2"])
def test_a_pod_waits_for_a_shard_of_another_run_and_of_an_earlier_attempt_with_more_pods(tmp_path, holder):
    path = lock(tmp_path, 3, Holder(holder, "other"))
    pod = Pod(tmp_path, 0).start()
    wait_for(lambda: pod.reports and pod.reports[-1][2] == "waiting for another run")
    assert pod.thread.is_alive()
    assert holder_of(path).pod_uid == "other"
    path.unlink()
    assert pod.ends()
    assert sorted(pod.made) == list(range(SHARDS))


def test_a_pod_that_is_replaced_counts_the_shards_of_its_predecessor(tmp_path):
    first = Pod(tmp_path, 1).start()
    assert first.ends()
    lock(tmp_path, 3, first.worker.holder("killed"))  # after it wrote the manifest, before it released the lease
    again = [Pod(tmp_path, number).start() for number in range(2)]
    assert all(pod.ends() for pod in again)
    assert [len(pod.counted) for pod in again] == [0, SHARDS]
    assert all(pod.made == [] for pod in again)
    assert not list(tmp_path.glob("lease*"))
    assert [pod.reports for pod in again] == [[(0, 1000 * SHARDS, "")], [(1000 * SHARDS, 1000 * SHARDS, "")]]
