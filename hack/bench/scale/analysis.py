"""Figures from a timeline, without I/O."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WORKLOADS = ("Job", "PyTorchJob", "Deployment")
ENDS = {"Job": "complete", "PyTorchJob": "complete", "Deployment": "ready"}
Entry = Mapping[str, Any]


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
        if e["kind"] == "FusionRun" and e["run"] in wanted and e["what"] in ("complete", "failed")
    }


def ended_stages(entries: Iterable[Entry], names: Iterable[str]) -> dict[tuple[str, str], float]:
    """Return by run and stage when the first workload was complete, or a server was ready."""
    wanted = set(names)
    found: dict[tuple[str, str], float] = {}
    for e in entries:
        if e["run"] in wanted and ENDS.get(e["kind"]) == e["what"]:
            found.setdefault((e["run"], e["stage"]), e["t"])
    return found


def needless_attempts(entries: Iterable[Entry], names: Iterable[str]) -> int:
    """Count the workloads after the first of each stage, since no simulated pod fails."""
    wanted = set(names)
    made = defaultdict(set)
    for e in entries:
        if e["kind"] in WORKLOADS and e["what"] == "created" and e["run"] in wanted:
            made[e["run"], e["stage"]].add(e["name"])
    return sum(len(workloads) - 1 for workloads in made.values())


def follow_ups(entries: Sequence[Entry], names: Iterable[str], needs: Mapping[str, Sequence[str]]) -> list[float]:
    """Return the seconds from the end of the last required stage to the creation of a stage's workload.

    Both times are those of the watch events that the benchmark received.

    Parameters
    ----------
    entries
        The timeline.
    names
        Names of runs.
    needs
        Required stages by stage. Other stages are left out.
    """
    ended, created = ended_stages(entries, names), {}
    for e in entries:
        if e["kind"] in WORKLOADS and e["what"] == "created":
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


def requests(increase: Mapping[str, float]) -> tuple[float, float]:
    """Return the number of requests to the API server, and of replies 404 or 409."""
    counts: Counter[str] = Counter()
    for series, value in increase.items():
        if series.startswith("fusionrun_api_requests_total{"):
            counts[series.split('code="')[1].split('"')[0]] += value
    return counts.total(), counts["404"] + counts["409"]


def quantile(increase: Mapping[str, float], histogram: str, share: float) -> float | None:
    """Return a quantile of a Prometheus histogram, as ``histogram_quantile`` does; infinite above the last bucket."""
    buckets = sorted(
        (float(series.split('le="')[1].split('"')[0]), value)
        for series, value in increase.items()
        if series.startswith(f"{histogram}_bucket{{")
    )
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    for (low, below), (high, upto) in itertools.pairwise([(0.0, 0.0), *buckets]):
        if upto >= rank:
            return high if math.isinf(high) else low + (high - low) * (rank - below) / (upto - below)
    return None
