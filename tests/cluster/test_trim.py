"""Trimmed objects: decisions are the same as with complete objects, and their size is bounded."""

import sys
from datetime import timedelta

import pytest

from fusionrun.cluster.store import Store
from fusionrun.cluster.trim import trim
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.object_ref import run_of
from support.served import finished, sample_run, served
from support.world import World

BYTES_PER_OBJECT = {False: 3000, True: 1300}
"""Largest mean size of an object in bytes, of an unfinished and of a finished run. Measured: 2,230 and 940."""


def bytes_of(*roots) -> int:
    """Return the total size of all reachable objects."""
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, dict):
            waiting += [*thing, *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += thing
        else:
            waiting += [getattr(thing, name) for name in getattr(thing, "__slots__", ())]
    return sum(map(sys.getsizeof, seen.values()))


@pytest.mark.parametrize("is_finished", [False, True])
def test_memory_per_object_is_bounded(is_finished):
    run, *children = finished(sample_run("llama"))
    assert len(children) > 900
    if not is_finished:
        run["status"]["conditions"] = []
    store = Store()
    store.put(run)
    without = bytes_of(vars(store))
    for child in children:
        store.put(child)
    assert (bytes_of(vars(store)) - without) / len(children) < BYTES_PER_OBJECT[is_finished]


def test_decisions_are_the_same_for_trimmed_and_complete_objects():
    """At each step of a run: ``trim`` keeps every field that a decision reads."""
    world = World(sample_run("tiny", "tiny"))
    while True:
        world.settle()
        run, *children = served(world)
        for now in (world.now, world.now + timedelta(seconds=30)):
            whole = decide(LiveObjects(run, tuple(children)), world.settings, now)
            kept = (trim(child, finished=False) for child in children)
            assert decide(LiveObjects(trim(run, finished=False), tuple(kept)), world.settings, now) == whole
        if not world.step():
            break
    assert world.condition("Complete")[0] == "True"
    expired = decide(LiveObjects(run, tuple(children)), world.settings, world.now + timedelta(days=1))
    kept = tuple(trim(child, finished=True) for child in children)
    assert expired.delete
    assert decide(LiveObjects(run, kept), world.settings, world.now + timedelta(days=1)) == expired
    assert {run_of(child) for child in kept} == {run_of(run)}


def test_trim_does_not_change_its_argument(make):
    pod = make.child("Pod", "p", spec={"containers": [{}], "nodeName": "a"}, status={"phase": "Running"})
    assert trim(pod, finished=False)["spec"] == {"nodeName": "a"}
    assert "containers" in pod["spec"]


def test_an_object_without_a_status_can_be_trimmed(make):
    trimmed = trim(make.child("Job", "j", spec={}, status=None), finished=False)
    assert trimmed.keys() == {"apiVersion", "kind", "metadata"}
