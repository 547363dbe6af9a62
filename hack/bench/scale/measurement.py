"""One measurement: start the controller, create the runs, wait until they are finished, and compute the figures."""

import argparse
import sys
import time

import analysis
import argo_workflow
import fixtures
from control_plane import ControlPlane
from engines import Engine
from figures import Figures
from process import Process, Usage
from shapes import Workload
from timeline import Entry, Timeline

PROGRESS_SECONDS = 10
PROBE_SECONDS = 300
"""Timeout of the first object of a run after a restart."""


def log(text: str) -> None:
    """Log to standard error. Standard output has only the table."""
    print(f"bench-scale: {text}", file=sys.stderr, flush=True)


def measure(
    timeline: Timeline, workload: Workload, engine: Engine, plane: ControlPlane, options: argparse.Namespace
) -> Figures:
    """Return the figures of all runs, and of a restart of the controller when they are finished."""
    fixtures.wait_until_schedulable()
    with engine.start() as controller:
        time.sleep(options.settle)  # no event marks when memory has settled
        first, began, idle = controller.usage(), time.time(), plane.cpu_seconds()
        log(f"the controller has {first.rss:.0f} MiB")
        plural = engine.watched[engine.kind].rpartition("/")[2]
        fixtures.create_runs([engine.manifest(workload, name) for name in workload.names], plural, options.rate)
        finished = wait_until_finished(timeline, workload, controller, options.timeout)
        log("all runs are finished" if finished else f"not all are finished after {options.timeout} s")
        ended, busy, during = time.time(), plane.cpu_seconds(), controller.usage()
        time.sleep(options.settle)
        last = controller.usage()
    level, restarted = restart(timeline, engine, workload, plural, options.settle) if finished else (None, None)
    entries, names = list(timeline.entries), workload.names
    ends = analysis.outcomes(entries, names)
    delays = fixtures.event_delays(engine.kind, set(names))
    requests = analysis.requests(plane.requests(began, ended))
    needs = workload.needs()
    return Figures(
        engine=options.engine,
        shape=options.shape,
        runs=len(names),
        rate=options.rate,
        complete=sum(what == "complete" for what, _ in ends.values()),
        failed=sum(what == "failed" for what, _ in ends.values()),
        took_median=analysis.percentile(analysis.durations(entries, names), 50),
        finished_last=max(at for _, at in ends.values()) - began if finished else None,
        stages=workload.stages,
        stages_ended=len(analysis.ended_stages(entries, names)),
        pods=len(names) * sum(map(argo_workflow.pods_of, workload.plan.stages)),
        pods_created=analysis.created_pods(entries, names),
        follow_up=_percentiles(analysis.follow_ups(entries, names, needs, engine.made), 50, 90, 99),
        pods_follow_up=_percentiles(analysis.follow_ups(entries, names, needs), 50, 90, 99),
        cpu_seconds=during.cpu - first.cpu,
        plane_cpu={name: seconds - idle[name] for name, seconds in busy.items()},
        rss_start=first.rss,
        rss_peak=during.peak,
        rss_settled=last.rss,
        rss_restarted=restarted.rss if restarted else None,
        restart_peak=restarted.peak if restarted else None,
        level_seconds=level,
        requests=dict(requests.most_common()),
        events=len(delays),
        event_delay=_percentiles(delays, 50, 100),
        kubelet_delay=analysis.percentile(analysis.lateness(entries, names), 99),
    )


def restart(timeline: Timeline, engine: Engine, workload: Workload, plural: str, settle: float) -> tuple[float, Usage]:
    """Start the controller beside the finished runs and a new one.

    Return the seconds until the first pod of the new run exists, and the usage after ``settle`` seconds.
    """
    name = f"{workload.names[0]}-new"
    fixtures.create_runs([engine.manifest(workload, name)], plural)
    began = time.time()
    with engine.start() as controller:

        def started() -> bool:
            return analysis.created_pods(timeline.entries, [name]) > 0

        if not timeline.wait(started, PROBE_SECONDS):
            raise TimeoutError(f"{name} has no pod after {PROBE_SECONDS} s")
        level = time.time() - began
        time.sleep(settle)
        return level, controller.usage()


def wait_until_finished(timeline: Timeline, workload: Workload, controller: Process, seconds: float) -> bool:
    """Wait until all runs are finished, and log the progress."""
    deadline = time.monotonic() + seconds
    unfinished, seen = set(workload.names), 0

    def all_finished() -> bool:
        nonlocal seen
        new: list[Entry] = timeline.entries[seen:]
        seen += len(new)
        unfinished.difference_update(analysis.outcomes(new, {entry["run"] for entry in new} & unfinished))
        return not unfinished

    while (left := deadline - time.monotonic()) > 0:
        if timeline.wait(all_finished, min(left, PROGRESS_SECONDS)):
            return True
        controller.check()
        done = len(analysis.ended_stages(list(timeline.entries), workload.names))
        finished = len(workload.names) - len(unfinished)
        log(f"{finished} of {len(workload.names)} runs finished, {done} of {workload.stages} stages done")
    return False


def _percentiles(values: list[float], *percents: float) -> tuple[float | None, ...]:
    return tuple(analysis.percentile(values, percent) for percent in percents)
