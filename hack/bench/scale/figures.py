"""The figures of a measurement, and a table that compares measurements."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figures:
    """One measurement. Times in seconds, memory in MiB; None was not measured.

    Attributes
    ----------
    kept
        Finished runs of earlier measurements.
    finished_median, finished_last
        From the first create request to the end of a run; None unless all runs are finished.
    stages, stages_ended
        Stages of all runs, and those whose workload was complete (a server: ready).
    cpu_seconds
        CPU time of the operator from the first create request to the reading of ``rss_settled``.
    rss_start, rss_max, rss_settled, rss_restarted
        Resident memory of the operator: after a start with the kept runs, the maximum, some seconds after the last run
        was finished, and after a start with all runs.
    memory_peak
        Maximum memory of the pod's cgroup.
    restart_seconds, restart_peak
        From the deletion of the operator's pod to Ready, and the peak of its resident memory.
    requests, refused
        Requests to the API server, and replies 404 or 409.
    follow_up
        Median, 90th and 99th percentile of ``analysis.follow_ups``.
    transition
        Median and 99th percentile of ``fusionrun_transition_seconds``.
    events, event_delay
        Events on the runs; median and maximum of their delay.
    restarts
        Reasons for the restarts of the operator's container.
    standin_delay
        99th percentile of ``analysis.lateness``.
    """

    shape: str
    runs: int
    kept: int
    complete: int
    failed: int
    finished_median: float | None
    finished_last: float | None
    stages: int
    stages_ended: int
    needless_attempts: int
    cpu_seconds: float
    rss_start: float
    rss_max: float
    rss_settled: float | None
    memory_peak: float
    rss_restarted: float | None
    restart_seconds: float | None
    restart_peak: float | None
    requests: float
    refused: float
    follow_up: Sequence[float | None]
    transition: Sequence[float | None]
    events: int
    event_delay: Sequence[float | None]
    restarts: Sequence[str]
    standin_delay: float | None

    def save(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


def read(path: Path) -> Figures:
    """Read saved figures."""
    return Figures(**json.loads(path.read_text()))


def table(measured: Sequence[Figures]) -> str:
    """Return a Markdown table with a column for each measurement."""
    heads = [f"{f.runs} {f.shape}" + (f" beside {f.kept}" if f.kept else "") for f in measured]
    rows = [["", *heads], ["---", *("---:" for _ in measured)]]
    rows += [[name, *(cell(f) for f in measured)] for name, cell in ROWS.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _seconds(*values: float | None) -> str:
    return ", ".join(_number(value) for value in values) + (" s" if any(v is not None for v in values) else "")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if math.isinf(value):
        return "> last bucket"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _mib(*values: float | None) -> str:
    return ", ".join("-" if value is None else f"{value:.0f}" for value in values) + " MiB"


def _per_stage(value: float, figures: Figures) -> float | None:
    return value / figures.stages_ended if figures.stages_ended else None


def _per_kept_run(figures: Figures) -> str:
    if figures.rss_restarted is None:
        return "-"
    return f"{(figures.rss_restarted - figures.rss_start) / figures.runs:.1f} MiB"


def _ended(figures: Figures) -> str:
    killed = figures.restarts.count("OOMKilled")
    return f"{len(figures.restarts)}, {killed}"


ROWS: dict[str, Callable[[Figures], str]] = {
    "runs complete, failed": lambda f: f"{f.complete}, {f.failed}",
    "a run finished after, median": lambda f: _seconds(f.finished_median),
    "all finished after": lambda f: _seconds(f.finished_last) if f.finished_last is not None else "never",
    "stages done": lambda f: f"{f.stages_ended:,} of {f.stages:,}",
    "needless attempts": lambda f: f"{f.needless_attempts}",
    "operator's CPU time; per stage": lambda f: (
        f"{f.cpu_seconds:.1f} s; {_number(_per_stage(1000 * f.cpu_seconds, f))} ms"
    ),
    "operator's RSS at the start, maximum, settled": lambda f: _mib(f.rss_start, f.rss_max, f.rss_settled),
    "maximum memory of its cgroup": lambda f: _mib(f.memory_peak),
    "RSS after a restart with these runs kept; its peak": lambda f: _mib(f.rss_restarted, f.restart_peak),
    "RSS per finished run kept": _per_kept_run,
    "that restart, until Ready": lambda f: _seconds(f.restart_seconds),
    "API requests per stage; of these 404 or 409": lambda f: (
        f"{_number(_per_stage(f.requests, f))}; {_number(_per_stage(f.refused, f))}"
    ),
    "end of a stage to next workload: median, p90, p99": lambda f: _seconds(*f.follow_up),
    "operator's own histogram of it: median, p99": lambda f: _seconds(*f.transition),
    "events; delay of posting, median, maximum": lambda f: f"{f.events}; {_seconds(*f.event_delay)}",
    "operator's restarts, of these OOM kills": _ended,
    "delay of the simulated kubelet, p99": lambda f: _seconds(f.standin_delay),
}
