"""The same runs as a scheduling problem, a lower bound of its makespan, and the best schedule that CP-SAT finds.

The problem is easier than reality: GPUs are one pool without nodes, and a server starts with all of its replicas. So no
order can be shorter than the bound.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from assumed_times import JOB_SECONDS, POD_START_SECONDS, POD_STOP_SECONDS, Times

from fusionrun.plan.stages import Plan

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """A stage; a server with its client is one."""

    name: str
    run: int
    seconds: int
    """From its start to its end."""
    held: int
    """From its start to the release of its GPUs."""
    gpus: int
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Solution:
    """The result of the solver, in seconds."""

    makespan: float
    """That of the best schedule found: by CP-SAT, or by the lists that it starts with."""
    bound: float
    status: str


def tasks_of(plan: Plan, times: Times, run: int) -> list[Task]:
    """Return the tasks of a run. Seconds are rounded down, so that the bound holds."""
    clients = {s.server: s for s in plan.stages if s.server}
    servers = {s.name: s.server for s in plan.stages if s.server}
    tasks = []
    for stage in plan.stages:
        if stage.server:
            continue
        work = times.work(clients.get(stage.name, stage))
        if stage.traits.is_server:
            end = POD_START_SECONDS + times.load(stage) + POD_START_SECONDS + work + JOB_SECONDS
            held = end + POD_STOP_SECONDS
        else:
            held = POD_START_SECONDS + work
            end = held + JOB_SECONDS
        needs = dict.fromkeys(f"{run}:{servers.get(name) or name}" for name in stage.needs)
        tasks.append(Task(f"{run}:{stage.name}", run, int(end), int(held), stage.gpus, tuple(needs)))
    return tasks


def lower_bound(tasks: Sequence[Task], gpus: int) -> float:
    """Return the larger of the longest path and of all GPU time divided by the GPUs, in seconds."""
    ends: dict[str, int] = {}
    for task in tasks:
        ends[task.name] = task.seconds + max((ends[need] for need in task.needs), default=0)
    return max(*ends.values(), sum(t.gpus * t.held for t in tasks) / gpus)


def solve(tasks: Sequence[Task], gpus: int, budget: int, seconds: float) -> Solution:
    """Let CP-SAT search for so many seconds. ``budget`` is that of each run."""
    problem = {"tasks": [asdict(t) for t in tasks], "gpus": gpus, "budget": budget, "seconds": seconds}
    problem["workers"] = os.cpu_count()
    solver = HERE / "solver"
    done = subprocess.run([solver], input=json.dumps(problem), capture_output=True, text=True, check=True)
    return Solution(**json.loads(done.stdout))
