"""At most one pod holds a lease: waiting, takeover and loss."""

import json
import os
import threading
import time

import pytest

from fusionrun_stages.pod.lease import STALE_SECONDS, Holder, Lease, holder_of

pytestmark = pytest.mark.usefixtures("quick_leases")


class Pod:
    """A pod that acquires the lease in a thread."""

    def __init__(self, folder, uid, run="run", stage="sft"):
        self.complete, self.waited, self.lost = threading.Event(), [], threading.Event()
        self.name = Holder(f"lab/{run}/{stage}", uid)
        self.lease = Lease(folder / "lease.json", self.name, self.complete.is_set, self.waited.append, self.lost.set)
        self.thread = threading.Thread(target=self.lease.take, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def has_it(self, folder):
        self.thread.join(5)
        return not self.thread.is_alive() and holder_of(folder / "lease.json") == self.name


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_second_run_waits_for_the_first(tmp_path):
    first = Pod(tmp_path, "a", "one").start()
    assert first.has_it(tmp_path)
    second = Pod(tmp_path, "b", "two").start()
    wait_for(lambda: second.waited)
    assert second.waited[0] == first.name
    assert holder_of(tmp_path / "lease.json") == first.name
    first.lease.release()
    assert second.has_it(tmp_path)
    assert not first.lost.is_set()
    second.lease.release()
    assert list(tmp_path.iterdir()) == []


def test_a_successor_in_the_same_stage_replaces_its_predecessor_at_once(tmp_path):
    dead = Pod(tmp_path, "on-a-lost-node").start()
    assert dead.has_it(tmp_path)
    successor = Pod(tmp_path, "successor").start()
    assert successor.has_it(tmp_path)
    assert successor.waited == []
    wait_for(dead.lost.is_set)
    dead.lease.release()
    assert holder_of(tmp_path / "lease.json") == successor.name
    successor.lease.release()


def test_the_lease_of_a_running_holder_is_not_stale(tmp_path):
    holder = Pod(tmp_path, "a", "one").start()
    assert holder.has_it(tmp_path)
    age(tmp_path / "lease.json", STALE_SECONDS - 1)
    time.sleep(0.1)
    other = Pod(tmp_path, "b", "two").start()
    wait_for(lambda: len(other.waited) > 3)
    assert holder_of(tmp_path / "lease.json") == holder.name
    other.complete.set()
    holder.lease.release()


@pytest.mark.parametrize("text", [json.dumps({"stage": "lab/one/sft", "pod_uid": "a"}), "", "{}"])
def test_a_stale_lease_is_taken_over(tmp_path, text):
    path = tmp_path / "lease.json"
    path.write_text(text)
    age(path, STALE_SECONDS - 10)
    other = Pod(tmp_path, "b", "two").start()
    wait_for(lambda: other.waited)
    age(path, STALE_SECONDS + 1)
    assert other.has_it(tmp_path)
    other.lease.release()


def test_one_of_several_waiting_pods_gets_a_stale_lease(tmp_path):
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({"stage": "lab/dead/sft", "pod_uid": "dead"}))
    age(path, STALE_SECONDS + 1)
    pods = [Pod(tmp_path, f"pod-{n}", f"run-{n}").start() for n in range(4)]
    wait_for(lambda: any(not pod.thread.is_alive() for pod in pods))
    time.sleep(0.3)
    got = [pod for pod in pods if not pod.thread.is_alive() and not pod.lost.is_set()]
    assert [pod.name for pod in got] == [holder_of(path)]
    for pod in pods:
        pod.complete.set()
        pod.lease.release()


@pytest.mark.parametrize(("run", "stays"), [("another", True), ("same", False)])
def test_a_complete_artifact_needs_no_lease(tmp_path, run, stays):
    # The holder was killed after it had written the manifest. Its successor removes the lease; other runs leave it.
    (tmp_path / "lease.json").write_text(json.dumps({"stage": f"lab/{run}/sft", "pod_uid": "dead"}))
    pod = Pod(tmp_path, "b", "same")
    pod.complete.set()
    pod.start().thread.join(5)
    assert not pod.thread.is_alive()
    pod.lease.release()
    assert (tmp_path / "lease.json").exists() == stays


def test_other_ranks_follow_rank_0_of_the_same_run(tmp_path):
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({"stage": "lab/two/sft", "pod_uid": "x"}))
    pod = Pod(tmp_path, "rank-1", "one")
    follower = threading.Thread(target=pod.lease.follow, daemon=True)
    follower.start()
    time.sleep(0.05)
    assert follower.is_alive()
    path.write_text(json.dumps({"stage": "lab/one/sft", "pod_uid": "rank-0"}))
    follower.join(5)
    assert not follower.is_alive()


def test_a_lease_of_a_newer_release_is_read(tmp_path):
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({"stage": "lab/two/sft", "pod_uid": "b", "node": "n"}))
    assert holder_of(path) == Holder("lab/two/sft", "b")
