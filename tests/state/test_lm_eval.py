"""A run whose only benchmark is a task of lm-eval."""

from support.runs import make_run
from support.world import World


def test_a_run_is_measured_by_a_task_of_lm_eval_alone():
    benchmark = {"name": "pro", "harness": "LmEval", "task": "mmlu_pro", "fewShot": 0}
    gate = [{"benchmark": "pro", "minDelta": 30}]
    world = World(make_run(evaluation={"benchmarks": [benchmark], "gate": gate}))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.condition("EvaluationPassed")[0] == "True"
    (row,) = world.status.results
    assert (row.benchmark, row.base, row.final, row.delta) == ("pro", 20.0, 60.0, 40.0)
    assert (row.protocol, row.modified, row.unit, row.judge) == ("lm-eval/mmlu_pro 1", True, "Percent", None)
