"""The estimate in the status: made from the result of ``resolve``, once."""

import pytest

from fusionrun.api.values import Resolved
from support.runs import make_run
from support.world import World, succeeded


def with_models(kind, task, **changed):
    result = succeeded(kind, task)
    if kind != "resolve":
        return result
    models = sum(reference.kind == "model" for reference in task.parameters.references)
    more = {
        "parameters": [8 * 10**9] * models,
        "weights_bytes": [16 * 10**9] * models,
        "licences": ["Gemma Terms of Use: allowed under conditions", *[None] * (models - 1)],
        "memory_bytes": {"training.sft": 17 * 2**30},
        "disk_bytes": 10**12,
        **changed,
    }
    assert isinstance(result.values, Resolved)
    return result.model_copy(update={"values": result.values.model_copy(update=more)})


def test_the_estimate_is_made_once_from_the_result_of_resolve():
    world = World(make_run(), answer=with_models)
    world.run_until("resolve")
    assert world.status.estimate is None
    world.run_until("prepare/prompts")
    made = world.status.estimate
    assert made.disk_bytes == 10**12
    assert (made.models[0].field, made.models[0].parameters) == ("target.model", 8 * 10**9)
    assert made.models[0].licence == "Gemma Terms of Use: allowed under conditions"
    assert [(row.field, row.bytes) for row in made.memory] == [("training.sft", 17 * 2**30)]
    world.run_to_end()
    assert world.status.estimate == made


def test_a_result_without_models_gives_no_estimate():
    world = World(make_run())
    world.run_to_end()
    assert world.status.estimate is None


@pytest.mark.parametrize(
    "changed", [{"licences": ["x" * 300]}, {"weights_bytes": []}, {"disk_bytes": -1}, {"memory_bytes": {"y" * 200: 1}}]
)
def test_a_report_that_does_not_fit_the_status_stops_no_run(changed):
    world = World(make_run(), answer=lambda kind, task: with_models(kind, task, **changed))
    world.run_to_end()
    assert world.condition("Complete")[0] == "True"
    assert world.status.estimate is None
