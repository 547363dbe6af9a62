"""The figures of a rehearsal, and their table."""

from collections.abc import Sequence
from dataclasses import dataclass

from assumed_times import HOUR
from gpu_nodes import GPUS_PER_NODE, Nodes
from simulation import SimulatedRun


@dataclass(frozen=True)
class Figures:
    """What one order of the stages leads to. GPU-hours are those of all pods."""

    order: str
    makespan_hours: float
    first_hours: float
    """Time until the first run is complete."""
    held: float
    """GPU-hours from the binding of each pod to the release of its GPUs."""
    loading: float
    """Of those, until the program of a pod starts, or its server is Ready."""
    working: float
    """Of those, with work; of a server, while its client sends requests."""
    nodes: int

    @property
    def idle_share(self) -> float:
        """Share of the held time in which a pod neither loads nor works."""
        return 1 - (self.loading + self.working) / self.held

    @property
    def busy_share(self) -> float:
        """Share of the time of all GPUs of the nodes in which a pod works."""
        return self.working / (self.makespan_hours * self.nodes * GPUS_PER_NODE)


def figures_of(order: str, runs: Sequence[SimulatedRun], nodes: Nodes) -> Figures:
    """Return the figures of complete runs."""
    ends = [run.finished or 0.0 for run in runs]
    of_servers = {pod: seconds for run in runs for pod, seconds in run.working.items()}
    held = loading = working = 0.0
    for pod in nodes.pods:
        end = max(ends) if pod.released is None else pod.released
        ready = end if pod.ready is None else pod.ready
        held += pod.gpus * (end - pod.bound)
        loading += pod.gpus * (ready - pod.bound)
        working += pod.gpus * of_servers.get(pod, 0.0 if pod.is_server else end - ready)
    hours = (seconds / HOUR for seconds in (max(ends), min(ends), held, loading, working))
    return Figures(order, *hours, nodes=len(nodes.free))


def table(rows: Sequence[Figures], bound: float, best: float | None) -> str:
    """Return the table of some orders of the same runs. ``bound`` and ``best`` are makespans of the solver in hours."""
    lines = [
        "| order | makespan | to the bound | first run | GPU-hours held | loading | held, idle | GPUs that work |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [
            row.order,
            f"{row.makespan_hours:.2f} h",
            f"{row.makespan_hours / bound:.3f}",
            f"{row.first_hours:.2f} h",
            f"{row.held:.0f}",
            f"{row.loading / row.held:.1%}",
            f"{row.idle_share:.2%}",
            f"{row.busy_share:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if best is not None:
        lines.append(f"| the best schedule found | {best:.2f} h | {best / bound:.3f} | | | | | |")
    lines.append(f"| lower bound | {bound:.2f} h | 1 | | | | | |")
    return "\n".join(lines)
