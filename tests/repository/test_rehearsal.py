"""The sample on two simulated nodes: the GPU budget is kept, and the order of the stages is good."""

from pathlib import Path

import optimum
import pytest
import yaml
from assumed_times import HOUR, Times
from gpu_nodes import Nodes
from makespans import figures_of
from simulation import Clock, SimulatedRun, sample, simulate

SPEC = yaml.safe_load((Path(__file__).parents[2] / "manifests" / "samples" / "llama-3-1-8b.yaml").read_text())["spec"]
BEST_HOURS = 31.9
"""Length of the best schedule that CP-SAT finds for the assumed times (``make rehearsal``)."""


@pytest.fixture(scope="module")
def rehearsed():
    clock, nodes = Clock(), Nodes(2)
    run = SimulatedRun(sample(SPEC, 0), clock, nodes, Times())
    simulate([run], clock, nodes)
    return run, nodes


def test_the_order_of_the_sample_is_close_to_the_best_one(rehearsed):
    run, nodes = rehearsed
    figures = figures_of("schedule", [run], nodes)
    assert figures.makespan_hours <= 1.05 * BEST_HOURS
    assert figures.idle_share <= 0.05


def test_the_pods_of_the_sample_never_hold_more_than_the_budget(rehearsed):
    run, nodes = rehearsed
    budget = SPEC["scheduling"]["gpuBudget"]
    for time in sorted(pod.bound for pod in nodes.pods):
        held = sum(p.gpus for p in nodes.pods if p.bound <= time and (p.released is None or p.released > time))
        assert held <= budget, run.spans
    assert sum(pod.gpus for pod in nodes.pods) == sum(s.gpus for s in run.plan.stages)


def test_no_order_is_shorter_than_the_lower_bound(rehearsed):
    run, _ = rehearsed
    bound = optimum.lower_bound(optimum.tasks_of(run.plan, Times(), 0), SPEC["scheduling"]["gpuBudget"])
    assert bound <= BEST_HOURS * HOUR <= run.finished
