"""The figures of a measurement, and a table that compares measurements."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

Figures = SimpleNamespace
"""The figures of one measurement (``measurement.measure``). Times in seconds, memory in MiB; None was not measured."""


def save(figures: Figures, path: Path) -> None:
    """Write figures as JSON."""
    path.write_text(json.dumps(vars(figures), indent=1))


def read(path: Path) -> Figures:
    """Read saved figures."""
    return Figures(**json.loads(path.read_text()))


def table(measured: Sequence[Figures]) -> str:
    """Return a Markdown table with a column for each measurement."""
    rows = [["", *(f"{f.runs} {f.shape}" for f in measured)], ["---", *("---:" for _ in measured)]]
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
    "operator's restarts, of these OOM kills": lambda f: f"{len(f.restarts)}, {f.restarts.count('OOMKilled')}",
    "delay of the simulated kubelet, p99": lambda f: _seconds(f.kubelet_delay),
}
