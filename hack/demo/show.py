"""Show the progress of a FusionRun, then its results: show.py NAMESPACE NAME. Exits 0 if the run is Complete."""

import sys
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from watch import condition, watch

DONE = ("Succeeded", "Skipped")


def seconds(stage: dict[str, Any]) -> str:
    """Return the duration of a stage."""
    if "startTime" not in stage or "endTime" not in stage:
        return ""
    took = datetime.fromisoformat(stage["endTime"]) - datetime.fromisoformat(stage["startTime"])
    return f"{took.total_seconds():.0f}"


def stages(run: dict[str, Any]) -> Table:
    """Return a table of the stages."""
    table = Table(title=f"FusionRun {run['metadata']['name']}: {run.get('status', {}).get('progress', '')}")
    for column in ("stage", "state", "progress", "seconds", "peak MiB", "notes"):
        table.add_column(column, justify="right" if column in ("progress", "seconds", "peak MiB") else "left")
    for stage in run.get("status", {}).get("stages", []):
        progress = stage.get("progress")
        peak = stage.get("peakMemoryBytes")
        notes = [
            stage.get("reason", "") if stage["state"] not in DONE else "cache hit" if stage.get("cacheHit") else "",
            f"{stage['tokensPerSecond']:g} tokens/s" if "tokensPerSecond" in stage else "",
            f"loss {stage['loss']:g}" if "loss" in stage else "",
            f"reward accuracy {stage['rewardAccuracy']:g}" if "rewardAccuracy" in stage else "",
            stage.get("message", "")[:60] if stage["state"] == "Failed" else "",
        ]
        table.add_row(
            stage["name"],
            stage["state"],
            f"{progress['done']}/{progress['total']} {progress.get('unit', '')}" if progress else "",
            seconds(stage),
            f"{peak / 2**20:.0f}" if peak else "",
            ", ".join(n for n in notes if n),
        )
    return table


def estimate(status: dict[str, Any]) -> Table:
    """Return a table of what the run was expected to need."""
    expected = status.get("estimate", {})
    disk = expected.get("diskBytes", 0) / 1e9
    table = Table(title=f"Expected: {expected.get('gpuHours', 0):g} GPU-hours, {disk:.1f} GB of disk")
    for column in ("stages", "GPU-hours", "seconds", "basis"):
        table.add_column(column, justify="right" if column in ("GPU-hours", "seconds") else "left")
    for row in expected.get("stages", []):
        table.add_row(row["kind"], f"{row['gpuHours']:g}", str(row["seconds"]), row["basis"])
    return table


def scores(status: dict[str, Any]) -> list[Table]:
    """Return a table of the scores with their 95 % intervals, and one of the paired differences."""
    rows = status.get("results", [])
    table = Table(title="Scores with 95 % intervals")
    for column in ("benchmark", "base", "SFT", "final", "unit", "protocol"):
        table.add_column(column, justify="right" if column in ("base", "SFT", "final") else "left")
    for row in rows:
        cells = (score(row, model) for model in ("base", "sft", "final"))
        protocol = row.get("protocol", "") + (", modified" if row.get("modified") else "")
        table.add_row(row["benchmark"], *cells, row.get("unit", ""), protocol)
    complete = [r for r in rows if r.get("unit") == "Percent" and {"base", "sft", "final"} <= r.keys()]
    if complete:
        means = (sum(r[model] for r in complete) / len(complete) for model in ("base", "sft", "final"))
        table.add_row("average of percentages", *(f"{m:.1f}" for m in means), style="bold")
    differences = Table(title="Differences on the same prompts, with 95 % intervals")
    for column in ("benchmark", "models", "difference", "p, corrected", "prompts needed"):
        differences.add_column(column, justify="left" if column in ("benchmark", "models") else "right")
    for row in rows:
        for found in row.get("differences", []):
            differences.add_row(
                row["benchmark"],
                f"{found['model']} - {found['against']}",
                interval(found, "delta", "+.1f"),
                f"{found['pValue']:.2g}" if "pValue" in found else "",
                f"{found['promptsNeeded']:,}" if "promptsNeeded" in found else "",
            )
    return [table, differences]


def score(row: dict[str, Any], model: str) -> str:
    """Return the score of a model with its interval, or why it has none."""
    found = next((s for s in row.get("scores", []) if s["model"] == model), {"score": row.get(model)})
    return interval(found, "score", ".1f") if found.get("score") is not None else found.get("message", "none")


def interval(found: dict[str, Any], name: str, form: str) -> str:
    """Return a number with the interval beside it."""
    bounds = f" ({found['lower']:.1f} to {found['upper']:.1f})" if {"lower", "upper"} <= found.keys() else ""
    return f"{found[name]:{form}}{bounds}"


def dataset(status: dict[str, Any]) -> Table:
    """Return a table of the data set by source, and of the drops by reason."""
    made = status.get("dataset", {})
    table = Table(title="Data set")
    for column in ("", "SFT rows", "pairs"):
        table.add_column(column, justify="left" if not column else "right")
    for row in made.get("bySource", []):
        table.add_row(row["source"], str(row["sftRows"]), str(row["pairs"]))
    held_out = made.get("heldOutPairs", 0)
    table.add_row("all", str(made.get("sftRows", 0)), f"{made.get('pairs', 0)} + {held_out} held out")
    for reason, count in made.get("drops", {}).items():
        table.add_row(f"dropped: {reason}", str(count), "")
    return table


def main(namespace: str, name: str) -> int:
    """Watch the run, then print the results."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    run: dict[str, Any] = {}
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            for run in watch(namespace, name):
                live.update(stages(run))
    else:
        last = ""
        for run in watch(namespace, name):
            status = run.get("status", {})
            line = f"{status.get('progress', '')}  {status.get('stage', '')}"
            if line != last:
                console.print(f"{datetime.now().astimezone():%H:%M:%S}  {line}")
                last = line
    status = run.get("status", {})
    console.print(stages(run))
    if status.get("estimate", {}).get("stages"):  # none without GPUs
        console.print(estimate(status))
    console.print(Group(dataset(status), *scores(status)))
    for kind in ("Complete", "Failed", "EvaluationPassed"):
        console.print(f"{kind}: {condition(run, kind)}  {condition(run, kind, 'message')}")
    return 0 if condition(run, "Complete") == "True" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
