"""Figures from a timeline, without I/O."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from timeline import RUNS

Entry = Mapping[str, Any]
Stages = dict[tuple[str, str], float]
"""A time by run and stage."""
ENDED = ("succeeded", "ready")
"""The states of a pod in which its stage may have ended. That of a server has ended when it is ready."""


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return a percentile by the nearest-rank method, None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else None


def outcomes(entries: Iterable[Entry], names: Iterable[str]) -> dict[str, tuple[str, float]]:
    """Return the outcome of each finished run, ``complete`` or ``failed``, and its time."""
    wanted = set(names)
    return {
        e["run"]: (e["what"], e["t"])
        for e in entries
        if e["kind"] in RUNS and e["run"] in wanted and e["what"] in ("complete", "failed")
    }


def durations(entries: Iterable[Entry], names: Iterable[str]) -> list[float]:
    """Return the seconds from the creation of each finished run to its end."""
    entries = list(entries)
    created = {e["run"]: e["t"] for e in entries if e["kind"] in RUNS and e["what"] == "created"}
    return [at - created[run] for run, (_, at) in outcomes(entries, names).items()]


def ended_stages(entries: Iterable[Entry], names: Iterable[str]) -> Stages:
    """Return when the last pod of each stage had succeeded; for a server, when its first pod was ready."""
    wanted = set(names)
    found: Stages = {}
    servers = set()
    for e in entries:
        if e["run"] in wanted and e["kind"] == "Pod" and e["what"] in ENDED and (e["run"], e["stage"]) not in servers:
            found[e["run"], e["stage"]] = e["t"]
            if e["what"] == "ready":
                servers.add((e["run"], e["stage"]))
    return found


def created_pods(entries: Iterable[Entry], names: Iterable[str]) -> int:
    """Count the pods of runs. No simulated pod fails, so more than those of the plan are needless."""
    wanted = set(names)
    return sum(e["kind"] == "Pod" and e["what"] == "created" and e["run"] in wanted for e in entries)


def follow_ups(
    entries: Sequence[Entry],
    names: Iterable[str],
    needs: Mapping[str, Sequence[str]],
    made: Collection[str] = ("Pod",),
) -> list[float]:
    """Return the seconds from the end of the last required stage to the creation of a stage's first object.

    Both times are those of the watch events that the benchmark received, or of the simulated kubelet's report.

    Parameters
    ----------
    entries
        The timeline.
    names
        Names of runs.
    needs
        Required stages by stage. Other stages are left out.
    made
        The kinds of the objects that are created for a stage.
    """
    names = set(names)
    ended = ended_stages(entries, names)
    created: Stages = {}
    for e in entries:
        if e["kind"] in made and e["what"] == "created" and e["run"] in names:
            created.setdefault((e["run"], e["stage"]), e["t"])
    found = []
    for (run, stage), at in created.items():
        waited = [ended.get((run, need)) for need in needs.get(stage, ())]
        if waited and None not in waited:
            found.append(at - max(waited))
    return found


def lateness(entries: Iterable[Entry], names: Iterable[str]) -> list[float]:
    """Return the delays, in seconds, with which the simulated kubelets reported the states of pods."""
    wanted = set(names)
    return [e.get("late", 0.0) for e in entries if e["kind"] == "Pod" and e["run"] in wanted]


def requests(events: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of requests by verb and resource, and of replies 404 and 409 as ``refused``.

    Watches and Leases are left out: their number depends on the time, not on the stages.
    """
    counts: Counter[str] = Counter()
    for event in events:
        reference = event.get("objectRef", {})
        if event["verb"] == "watch" or reference.get("resource") == "leases":
            continue
        what = "/".join(filter(None, (reference.get("resource", ""), reference.get("subresource", ""))))
        counts[f"{event['verb']} {what}"] += 1
        counts["refused"] += event.get("responseStatus", {}).get("code") in (404, 409)
    return counts
