"""One measurement: restart the operator, wait for the runs, and compute the figures."""

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import analysis
import fixtures
import operator_pod
from figures import Figures
from sampler import Sampler
from shapes import Workload
from timeline import Entry, Timeline
from usage import PodUsage, Usage

PROGRESS_SECONDS = 10


def log(text: str) -> None:
    """Log to standard error. Standard output has only the table."""
    print(f"bench-scale: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Start:
    """A start of the operator: its pod, the seconds until Ready, and its usage after ``--settle`` seconds."""

    pod: Any
    seconds: float
    usage: Usage


def start_operator(settle: float) -> Start:
    """Restart the operator, and wait ``settle`` seconds."""
    pod, seconds = operator_pod.restart()
    time.sleep(settle)  # no event marks when memory has settled
    return Start(pod, seconds, PodUsage(pod.metadata.uid).read())


def measure(timeline: Timeline, workload: Workload, options: argparse.Namespace) -> Figures:
    """Create the runs, wait until they are finished, and return the figures."""
    first = start_operator(options.settle)
    log(f"the operator has {first.usage.rss:.0f} MiB")
    began = time.time()
    with Sampler(first.pod) as sampler:
        before = sampler.usage()
        fixtures.create_runs(workload)
        finished = wait_until_finished(timeline, workload, options.timeout)
        log("all runs are finished" if finished else f"not all are finished after {options.timeout} s")
        if finished:
            time.sleep(options.settle)
        after = sampler.usage()
    again = start_operator(options.settle) if finished else None
    entries, names = list(timeline.entries), workload.names
    ends = analysis.outcomes(entries, names)
    took = [at - began for _, at in ends.values()]
    delays = fixtures.event_delays(set(names))
    requests, refused = analysis.requests(sampler.increase)
    return Figures(
        shape=options.shape,
        runs=len(names),
        complete=sum(what == "complete" for what, _ in ends.values()),
        failed=sum(what == "failed" for what, _ in ends.values()),
        finished_median=analysis.percentile(took, 50) if finished else None,
        finished_last=max(took) if finished else None,
        stages=workload.stages,
        stages_ended=len(analysis.ended_stages(entries, names)),
        needless_attempts=analysis.needless_attempts(entries, names),
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        rss_start=first.usage.rss,
        rss_max=sampler.rss_peak,
        rss_settled=after.rss if finished else None,
        memory_peak=after.memory_peak,
        rss_restarted=again.usage.rss if again else None,
        restart_peak=again.usage.rss_peak if again else None,
        restart_seconds=again.seconds if again else None,
        requests=requests,
        refused=refused,
        follow_up=_percentiles(analysis.follow_ups(entries, names, workload.needs()), 50, 90, 99),
        transition=[
            analysis.quantile(sampler.increase, "fusionrun_transition_seconds", share) for share in (0.5, 0.99)
        ],
        events=len(delays),
        event_delay=_percentiles(delays, 50, 100),
        restarts=sampler.restarts,
        kubelet_delay=analysis.percentile(analysis.lateness(entries, names), 99),
    )


def wait_until_finished(timeline: Timeline, workload: Workload, seconds: float) -> bool:
    """Wait until all runs are finished, and log the progress."""
    deadline = time.monotonic() + seconds
    unfinished, seen = set(workload.names), 0

    def all_finished() -> bool:
        nonlocal seen
        new: list[Entry] = timeline.entries[seen:]
        seen += len(new)
        unfinished.difference_update(analysis.outcomes(new, unfinished))
        return not unfinished

    while (left := deadline - time.monotonic()) > 0:
        if timeline.wait(all_finished, min(left, PROGRESS_SECONDS)):
            return True
        done = len(analysis.ended_stages(list(timeline.entries), workload.names))
        finished = len(workload.names) - len(unfinished)
        log(f"{finished} of {len(workload.names)} runs finished, {done} of {workload.stages} stages done")
    return False


def _percentiles(values: list[float], *percents: float) -> tuple[float | None, ...]:
    return tuple(analysis.percentile(values, percent) for percent in percents)
