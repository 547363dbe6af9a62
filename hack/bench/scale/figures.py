"""The figures of a measurement, and a table that compares measurements."""

import json
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
    rows = [["", *map(_title, measured)], ["---", *("---:" for _ in measured)]]
    rows += [[name, *(cell(f) for f in measured)] for name, cell in ROWS.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _title(figures: Figures) -> str:
    rate = f", {figures.rate:g} per s" if figures.rate else ""
    return f"{figures.engine}: {figures.runs:,} {figures.shape}{rate}"


def _seconds(*values: float | None) -> str:
    return ", ".join(_number(value) for value in values) + (" s" if any(v is not None for v in values) else "")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _mib(*values: float | None) -> str:
    return ", ".join("-" if value is None else f"{value:.0f}" for value in values) + " MiB"


def _per_stage(value: float, figures: Figures) -> float | None:
    return value / figures.stages_ended if figures.stages_ended else None


def _per_kept_run(figures: Figures) -> str:
    if figures.rss_restarted is None:
        return "-"
    return f"{(figures.rss_restarted - figures.rss_start) / figures.runs:.2f} MiB"


def _requests(figures: Figures) -> str:
    kinds = {what: number for what, number in figures.requests.items() if what != "refused"}
    refused = figures.requests.get("refused", 0)
    return f"{_number(_per_stage(sum(kinds.values()), figures))}; {_number(_per_stage(refused, figures))}"


ROWS: dict[str, Callable[[Figures], str]] = {
    "runs complete, failed": lambda f: f"{f.complete:,}, {f.failed:,}",
    "a run took, median": lambda f: _seconds(f.took_median),
    "all finished after": lambda f: _seconds(f.finished_last) if f.finished_last is not None else "never",
    "stages done": lambda f: f"{f.stages_ended:,} of {f.stages:,}",
    "pods created, of the plan": lambda f: f"{f.pods_created:,} of {f.pods:,}",
    "end of a stage to next object: median, p90, p99": lambda f: _seconds(*f.follow_up),
    "last pod's end to next pod: median, p90, p99": lambda f: _seconds(*f.pods_follow_up),
    "controller's CPU time; per stage": lambda f: (
        f"{f.cpu_seconds:.1f} s; {_number(_per_stage(1000 * f.cpu_seconds, f))} ms"
    ),
    "control plane's CPU time per stage": lambda f: f"{_number(_per_stage(1000 * sum(f.plane_cpu.values()), f))} ms",
    "controller's RSS at the start, maximum, settled": lambda f: _mib(f.rss_start, f.rss_peak, f.rss_settled),
    "RSS after a restart with these runs kept; its peak": lambda f: _mib(f.rss_restarted, f.restart_peak),
    "RSS per finished run kept": _per_kept_run,
    "that restart, until a new run has a pod": lambda f: _seconds(f.level_seconds),
    "API requests per stage; of these 404 or 409": _requests,
    "events; delay of posting, median, maximum": lambda f: f"{f.events:,}; {_seconds(*f.event_delay)}",
    "delay of the simulated kubelet, p99": lambda f: _seconds(f.kubelet_delay),
}
