"""Schedules of stages within limits of GPUs and servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.plan.schedule import Activity, Limits, schedule

GPUS, SERVERS = 8, 3


@st.composite
def projects(draw):
    """Draw the stages of a run, the first of which may run already."""
    activities: list[Activity] = []
    for at in range(draw(st.integers(1, 12))):
        names = [a.name for a in activities]
        runs = draw(st.booleans()) if all(a.runs for a in activities) else False
        activities.append(
            Activity(
                f"a{at}",
                draw(st.sampled_from([1.0, 60.0, 3600.0, 5000.5])),
                draw(st.sampled_from([0, 0.142857, 1, 4, GPUS])),
                draw(st.integers(0, 1)),
                () if runs or not names else tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))),
                0 if runs else draw(st.sampled_from([0, 0, 360.0])),
                runs,
            )
        )
    return activities


def in_use(activities, starts, time):
    return [a for a in activities if starts[a.name] <= time < starts[a.name] + a.seconds]


@given(projects())
def test_a_schedule_keeps_the_needs_and_the_limits_and_leaves_nothing_out(activities):
    limits = Limits(GPUS, SERVERS)
    starts = schedule(activities, limits)
    ends = {a.name: starts[a.name] + a.seconds for a in activities}
    assert set(starts) == {a.name for a in activities}
    for a in activities:
        assert starts[a.name] >= max([a.earliest, *(ends[need] for need in a.needs)])
        assert not a.runs or starts[a.name] == 0
    for time in starts.values():
        now = in_use(activities, starts, time)
        if not all(a.runs for a in now if a.gpus or a.servers):
            assert limits.allow(sum(a.gpus for a in now), sum(a.servers for a in now))
    assert schedule(activities, limits) == starts


@given(projects())
def test_something_starts_at_once_if_nothing_runs_and_nothing_has_to_wait(activities):
    idle = [Activity(a.name, a.seconds, a.gpus, a.servers, a.needs) for a in activities]
    assert min(schedule(idle, Limits(GPUS, SERVERS)).values()) == 0


CASES = {
    "a small stage does not delay a large one that others wait for": (
        [
            Activity("running", 3600, 4, runs=True),
            Activity("small", 7200, 1),
            Activity("large", 3600, 8),
            Activity("last", 9000, needs=("large",)),
        ],
        {"running": 0, "small": 7200, "large": 3600, "last": 7200},
    ),
    "it fills a gap that it fits into": (
        [Activity("running", 3600, 4, runs=True), Activity("small", 3600, 1), Activity("large", 3600, 8)],
        {"running": 0, "large": 3600, "small": 0},
    ),
    "the longest path first": (
        [
            Activity("short", 3600, 8),
            Activity("first", 1800, 8),
            Activity("second", 7200, 0, needs=("first",)),
        ],
        {"short": 1800, "first": 0, "second": 1800},
    ),
    "a stage that becomes possible soon keeps its place": (
        [Activity("fetch", 600, runs=True), Activity("small", 7200, 1), Activity("large", 36000, 8, 1, ("fetch",))],
        {"fetch": 0, "large": 600, "small": 36600},
    ),
    "servers are limited as GPUs are": (
        [Activity(name, seconds, 0, 1) for name, seconds in [("a", 10), ("b", 20), ("c", 30), ("d", 30)]],
        {"a": 20, "b": 0, "c": 0, "d": 0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_schedule(case):
    activities, expected = CASES[case]
    assert schedule(activities, Limits(GPUS, SERVERS)) == expected
