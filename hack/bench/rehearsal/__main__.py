"""Rehearse runs on simulated nodes with the operator's own decisions: makespan and idle GPUs, beside the optimum.

``make rehearsal``, or ``python hack/bench/rehearsal --runs 20 --nodes 16`` (PYTHONPATH=operator:images:tests). It needs
no cluster and no GPU. The durations of the stages are assumptions (assumed_times.py); docs/benchmarks.md describes the
simulation. Without ``--solve``, the lower bound is the longer of the longest path and of all GPU time on all GPUs.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import first_fit
import optimum
import yaml
from assumed_times import HOUR, Times
from gpu_nodes import GPUS_PER_NODE, Nodes
from makespans import Figures, figures_of, table
from simulation import Clock, SimulatedRun, sample, simulate

SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "llama-3-1-8b.yaml"
ORDERS = {"first fit": first_fit.instead, "schedule": nullcontext}


def main() -> None:
    options = _options()
    spec: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())["spec"]
    rows = []
    for order in ORDERS:
        figures, runs = rehearse(order, spec, options)
        rows.append(figures)
    if options.again:
        work = [run.work for run in runs]
        rows.append(rehearse("schedule", spec, options, work, label="schedule, again")[0])
    plan = SimulatedRun(sample(spec, 0), Clock(), Nodes(0), Times()).plan
    tasks = [task for run in range(options.runs) for task in optimum.tasks_of(plan, Times(options.error, run), run)]
    gpus, budget = options.nodes * GPUS_PER_NODE, spec["scheduling"]["gpuBudget"]
    bound, best = optimum.lower_bound(tasks, gpus), None
    if options.solve:
        log(table(rows, bound / HOUR, best))
        solution = optimum.solve(tasks, gpus, budget, options.solve)
        log(f"CP-SAT: {solution}")
        bound, best = max(bound, solution.bound), solution.makespan / HOUR
    print(table(rows, bound / HOUR, best))


def rehearse(
    order: str,
    spec: dict[str, Any],
    options: argparse.Namespace,
    work: Sequence[dict[str, int]] = (),
    label: str = "",
) -> tuple[Figures, list[SimulatedRun]]:
    """Let runs of a spec proceed in an order, and return the figures; ``work``: times of earlier runs for each run."""
    clock, nodes = Clock(), Nodes(options.nodes, pack=not options.spread)
    runs = [
        SimulatedRun(
            sample(spec, i),
            clock,
            nodes,
            Times(options.error, i),
            priority=int(i < options.preferred),
            work=work[i] if work else None,
        )
        for i in range(options.runs)
    ]
    started = time.process_time()
    with ORDERS[order]():
        simulate(runs, clock, nodes)
    count = sum(run.reconciles for run in runs)
    log(f"{order}: {count} decisions, {(time.process_time() - started) / count * 1000:.1f} ms of CPU time each")
    if options.stages:
        for name, (start, end) in sorted(runs[0].spans.items(), key=lambda span: span[1]):
            log(f"  {start / HOUR:6.2f} h to {end / HOUR:6.2f} h  {name}")
    return figures_of(label or order, runs, nodes), runs


def log(text: str) -> None:
    print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="number of runs, all created at once (default: 1)")
    parser.add_argument("--nodes", type=int, default=2, help="number of nodes with 8 GPUs each (default: 2)")
    parser.add_argument("--preferred", type=int, default=0, help="number of runs with a higher priority of their pods")
    parser.add_argument("--spread", action="store_true", help="bind pods to the emptiest node, not to the fullest")
    parser.add_argument(
        "--error", type=float, default=1.0, help="multiply or divide each duration by a random factor up to this"
    )
    parser.add_argument(
        "--again", action="store_true", help="also run them again: the operator then knows the times of the first runs"
    )
    parser.add_argument("--solve", type=float, metavar="SECONDS", help="let CP-SAT search for so long")
    parser.add_argument("--stages", action="store_true", help="list the stages of the first run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
