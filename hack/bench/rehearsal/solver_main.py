"""Solve a scheduling problem with CP-SAT: read it from standard input, write the result to standard output (JSON).

Runs in an environment with OR-tools (tools.lock), without the packages of FusionRun.
"""

import heapq
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from ortools.sat.python import cp_model

Task = dict[str, Any]


def main() -> None:
    problem = json.load(sys.stdin)
    tasks, gpus, budget = problem["tasks"], problem["gpus"], problem["budget"]
    model, seconds = cp_model.CpModel(), {task["name"]: task["seconds"] for task in tasks}
    runs = len({task["run"] for task in tasks})
    first = min((listed(tasks, gpus, budget, preferred) for preferred in range(runs)), key=max_end(tasks))
    horizon = max(first[task["name"]] + task["held"] for task in tasks)
    starts = {name: model.new_int_var(0, horizon, name) for name in seconds}
    makespan = model.new_int_var(0, horizon, "makespan")
    held, of_run = [], defaultdict(list)
    for task in tasks:
        start = starts[task["name"]]
        for need in task["needs"]:
            model.add(start >= starts[need] + seconds[need])
        model.add(makespan >= start + task["seconds"])
        if task["gpus"]:
            held.append((model.new_fixed_size_interval_var(start, task["held"], task["name"]), task["gpus"]))
            of_run[task["run"]].append(held[-1])
        model.add_hint(start, first[task["name"]])
    model.add_hint(makespan, max_end(tasks)(first))
    for group, limit in [(held, gpus), *((group, budget) for group in of_run.values())]:
        model.add_cumulative([interval for interval, _ in group], [count for _, count in group], limit)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = problem["seconds"]
    solver.parameters.num_workers = problem["workers"]
    solver.parameters.random_seed = 1
    status = solver.solve(model)
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    result = {"makespan": solver.objective_value if found else max_end(tasks)(first)}
    result |= {"bound": solver.best_objective_bound, "status": solver.status_name(status)}
    json.dump(result, sys.stdout)


def max_end(tasks: list[Task]) -> Callable[[dict[str, int]], int]:
    """Return the function from the starts of tasks to their makespan."""
    return lambda starts: max(starts[task["name"]] + task["seconds"] for task in tasks)


def listed(tasks: list[Task], gpus: int, budget: int, preferred: int) -> dict[str, int]:
    """Return the start of each task in a schedule to begin with: the longest path to the end first.

    The first ``preferred`` runs come before the others, so that not all of them train at the end at the same time.
    """
    tails: dict[str, int] = {}
    after: Counter[str] = Counter()
    for task in reversed(tasks):
        tails[task["name"]] = task["seconds"] + after[task["name"]]
        for need in task["needs"]:
            after[need] = max(after[need], tails[task["name"]])
    waiting = sorted(tasks, key=lambda task: (task["run"] >= preferred, -tails[task["name"]]))
    starts: dict[str, int] = {}
    ended, free, free_of_run = set[str](), gpus, defaultdict(lambda: budget)
    events: list[tuple[int, str, str, int, int]] = []
    now = 0
    while waiting:
        for task in list(waiting):
            fits = task["gpus"] <= min(free, free_of_run[task["run"]])
            if fits and ended.issuperset(task["needs"]):
                waiting.remove(task)
                starts[task["name"]] = now
                free, free_of_run[task["run"]] = free - task["gpus"], free_of_run[task["run"]] - task["gpus"]
                heapq.heappush(events, (now + task["seconds"], "ended", task["name"], 0, task["run"]))
                heapq.heappush(events, (now + task["held"], "freed", task["name"], task["gpus"], task["run"]))
        now, what, name, count, run = heapq.heappop(events)
        free, free_of_run[run] = free + count, free_of_run[run] + count
        if what == "ended":
            ended.add(name)
    return starts


if __name__ == "__main__":
    main()
