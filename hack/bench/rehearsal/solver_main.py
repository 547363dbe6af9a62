"""Solve a scheduling problem with CP-SAT: read it from standard input, write the result to standard output (JSON).

Runs in an environment with OR-tools (requirements.txt), without the packages of FusionRun.
"""

import json
import sys
from collections import defaultdict

from ortools.sat.python import cp_model


def main() -> None:
    problem = json.load(sys.stdin)
    tasks, model = problem["tasks"], cp_model.CpModel()
    horizon = sum(task["held"] for task in tasks)
    starts = {task["name"]: model.new_int_var(0, horizon, task["name"]) for task in tasks}
    seconds = {task["name"]: task["seconds"] for task in tasks}
    makespan = model.new_int_var(0, horizon, "makespan")
    intervals, by_run = [], defaultdict(list)
    for task in tasks:
        start = starts[task["name"]]
        for need in task["needs"]:
            model.add(start >= starts[need] + seconds[need])
        model.add(makespan >= start + task["seconds"])
        if task["gpus"]:
            held = (model.new_fixed_size_interval_var(start, task["held"], task["name"]), task["gpus"])
            intervals.append(held)
            by_run[task["run"]].append(held)
    for group, gpus in [(intervals, problem["gpus"]), *((group, problem["budget"]) for group in by_run.values())]:
        model.add_cumulative([interval for interval, _ in group], [count for _, count in group], gpus)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = problem["seconds"]
    solver.parameters.num_workers = problem["workers"]
    solver.parameters.random_seed = 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        sys.exit(f"CP-SAT found no schedule: {solver.status_name(status)}")
    result = {"makespan": solver.objective_value, "bound": solver.best_objective_bound}
    json.dump(result | {"status": solver.status_name(status)}, sys.stdout)


if __name__ == "__main__":
    main()
