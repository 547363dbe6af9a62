"""A schedule of the stages of a run within its limits of GPUs and servers. Pure; seconds count from now.

This is the resource-constrained project scheduling problem. A schedule is made by the serial method: in the order of a
list, each stage starts at the earliest time at which its needs have ended and the limits leave room for all of it. So a
large stage has its time before the smaller ones behind it in the list, which only fill the gaps. Several lists are
tried, by the length of the path to the end of the run first, and the shortest schedule counts.

Sources: Kolisch and Hartmann, "Heuristic algorithms for the resource-constrained project scheduling problem" (1999) for
the method and the rules; Tormos and Lova, "A competitive heuristic solution technique for resource-constrained project
scheduling" (2001), for the improvement.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

GPU_TOLERANCE = 0.001
"""Shares of a GPU are rounded: seven sevenths are a little less or more than a GPU."""
IMPROVEMENTS = 3
"""Attempts to improve a schedule. Each one costs as much as two schedules."""


@dataclass(frozen=True)
class Activity:
    """A stage to schedule; a server together with the stage that uses it."""

    name: str
    seconds: float
    """Expected time from its start to its end; from now, if it runs."""
    gpus: float = 0
    servers: int = 0
    needs: tuple[str, ...] = ()
    """Activities that must end first."""
    earliest: float = 0
    """Time before which it cannot start."""
    runs: bool = False
    """Whether it has started."""


@dataclass(frozen=True)
class Limits:
    """What the activities that run at the same time may have together."""

    gpus: float = inf
    servers: float = inf

    def allow(self, gpus: float, servers: float) -> bool:
        """Return whether so many GPUs and servers are within the limits."""
        return gpus <= self.gpus + GPU_TOLERANCE and servers <= self.servers


def schedule(activities: Sequence[Activity], limits: Limits) -> dict[str, float]:
    """Return when each activity starts, so that the last one ends early. Equal input gives an equal schedule.

    Parameters
    ----------
    activities
        Each after those that it needs. Each must be within the limits by itself; those that run count in any case.
    """
    tails = _tails(activities)
    most = min(limits.gpus, sum(a.gpus for a in activities)) or 1
    rules: list[Callable[[Activity], float]] = [
        lambda a: tails[a.name],
        lambda a: a.gpus,
        lambda a: tails[a.name] + a.seconds * a.gpus / most,
        lambda a: a.seconds * a.gpus,
    ]
    shortest: dict[str, float] = {}
    for rule in rules:
        starts = _improved(activities, limits, _serial(_by_priority(activities, rule), limits))
        if not shortest or _length(activities, starts) < _length(activities, shortest):
            shortest = starts
    return shortest


def _tails(activities: Sequence[Activity]) -> dict[str, float]:
    """Return the longest path from the start of each activity to the end of the run, in seconds."""
    after: dict[str, float] = {}
    tails = {}
    for activity in reversed(activities):
        tail = tails[activity.name] = activity.seconds + after.get(activity.name, 0)
        for need in activity.needs:
            after[need] = max(after.get(need, 0), tail)
    return tails


def _by_priority(activities: Sequence[Activity], rule: Callable[[Activity], float]) -> list[Activity]:
    """List activities, each after those that it needs; of several possible ones, that with the highest priority."""
    position = {a.name: at for at, a in enumerate(activities)}
    missing = {a.name: sum(need in position for need in a.needs) for a in activities}
    users: dict[str, list[Activity]] = {}
    for activity in activities:
        for need in activity.needs:
            users.setdefault(need, []).append(activity)
    possible = [(not a.runs, -rule(a), position[a.name]) for a in activities if not missing[a.name]]
    heapq.heapify(possible)
    listed = []
    while possible:
        activity = activities[heapq.heappop(possible)[2]]
        listed.append(activity)
        for user in users.get(activity.name, ()):
            missing[user.name] -= 1
            if not missing[user.name]:
                heapq.heappush(possible, (not user.runs, -rule(user), position[user.name]))
    return listed


def _serial(listed: Sequence[Activity], limits: Limits) -> dict[str, float]:
    """Schedule activities in the order of a list, those that run first."""
    use, starts, ends = _Use(limits), dict[str, float](), dict[str, float]()
    for activity in sorted(listed, key=lambda a: not a.runs):
        ready = max((ends[need] for need in activity.needs if need in ends), default=0.0)
        start = 0.0 if activity.runs else use.first(max(ready, activity.earliest), activity)
        use.add(start, activity)
        starts[activity.name], ends[activity.name] = start, start + activity.seconds
    return starts


def _improved(activities: Sequence[Activity], limits: Limits, starts: dict[str, float]) -> dict[str, float]:
    """Return a schedule that is at most as long: scheduled backwards from its end, and forwards in that order."""
    users: dict[str, list[str]] = {a.name: [] for a in activities}
    for activity in activities:
        for need in activity.needs:
            if need in users:
                users[need].append(activity.name)
    mirrored = [Activity(a.name, a.seconds, a.gpus, a.servers, tuple(users[a.name])) for a in activities]
    for _ in range(IMPROVEMENTS):
        length = _length(activities, starts)
        backwards = _serial(sorted(mirrored, key=lambda a: -(starts[a.name] + a.seconds)), limits)
        forwards = sorted(activities, key=lambda a: -(backwards[a.name] + a.seconds))
        found = _serial(forwards, limits)
        if _length(activities, found) >= length:
            break
        starts = found
    return starts


def _length(activities: Sequence[Activity], starts: Mapping[str, float]) -> float:
    return max((starts[a.name] + a.seconds for a in activities), default=0.0)


@dataclass
class _Use:
    """The GPUs and servers in use: from each time to the next, from the last one for ever."""

    limits: Limits
    times: list[float] = field(default_factory=lambda: [0.0])
    gpus: list[float] = field(default_factory=lambda: [0.0])
    servers: list[int] = field(default_factory=lambda: [0])

    def first(self, ready: float, activity: Activity) -> float:
        """Return the earliest time, from ``ready`` on, from which there is room for an activity until its end."""
        if not activity.gpus and not activity.servers:
            return ready
        start = ready
        for at in range(bisect_right(self.times, ready) - 1, len(self.times)):
            if self.times[at] >= start + activity.seconds:
                break
            if not self.limits.allow(self.gpus[at] + activity.gpus, self.servers[at] + activity.servers):
                start = self.times[at + 1]
        return start

    def add(self, start: float, activity: Activity) -> None:
        """Count an activity as running from its start to its end."""
        if activity.gpus or activity.servers:
            first, last = self._at(start), self._at(start + activity.seconds)
            for at in range(first, last):
                self.gpus[at] += activity.gpus
                self.servers[at] += activity.servers

    def _at(self, time: float) -> int:
        """Return the index of a time, which is added if it is absent."""
        at = bisect_left(self.times, time)
        if at == len(self.times) or self.times[at] != time:
            self.times.insert(at, time)
            self.gpus.insert(at, self.gpus[at - 1])
            self.servers.insert(at, self.servers[at - 1])
        return at
