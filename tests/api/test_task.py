"""A task: what the operator writes, the pod reads."""

import json
import typing

import pytest

from fusionrun.api import pod
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.parameters import Parameters
from fusionrun.api.tasks.task import CONTRACT_VERSION, StageTask, decode_task, encode_task
from fusionrun.errors import ContractError
from support.runs import make_run
from support.world import World


@pytest.fixture(scope="module")
def tasks() -> dict[str, str]:
    """Every task of a whole run, as the operator wrote it."""
    world = World(make_run(publish={"uri": "pvc://fusion-data/out"}))
    world.run_to_end()
    texts = [m["data"]["task.json"] for m in world.objects.values() if "task.json" in m.get("data", {})]
    return {json.loads(text)["stage"]: text for text in texts}


def test_every_kind_with_a_program_has_its_parameters():
    unions = typing.get_args(typing.get_args(Parameters)[0])
    assert {p.model_fields["kind"].default for p in unions} == set(StageKind) - {StageKind.SERVE}


def test_a_task_reads_back_as_it_was_written(tasks):
    for text in tasks.values():
        assert encode_task(decode_task(text)) == text


def test_a_task_leaves_out_what_is_at_its_default(tasks):
    """So that an image of an older release can read it: it does not know a field that was added since."""
    task = json.loads(tasks["prepare/prompts"])
    assert (task["version"], task["parameters"]["kind"]) == (CONTRACT_VERSION, "prepare")
    given = task["parameters"]["datasets"][0]
    assert given["columns"] == {"answer": "answer"}
    assert not {"split", "preset", "responsesColumns", "excludedSubjects"} & set(given)


def test_a_field_that_is_not_known_is_ignored(tasks):
    for text in tasks.values():
        task = json.loads(text)
        task["surprise"] = task["parameters"]["surprise"] = 1
        assert encode_task(decode_task(json.dumps(task))) == text


def test_a_task_is_camel_case_and_names_its_kind(tasks):
    task = json.loads(tasks["dpo"])
    assert task["version"] == CONTRACT_VERSION
    assert task["parameters"]["kind"] == "dpo"
    assert task["parameters"]["learningRate"] == 8e-7
    assert task["outputDir"] == f"/data/fusionrun/artifacts/dpo/{task['digest']}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda t: t.pop("digest"), "digest"),
        (lambda t: t["parameters"].update(beta="steep"), "parameters.dpo.beta"),
        (lambda t: t["parameters"].update(kind="distil"), "parameters"),
    ],
    ids=["missing", "wrong type", "unknown kind"],
)
def test_a_task_that_cannot_be_read_names_the_field(tasks, change, field):
    task = json.loads(tasks["dpo"])
    change(task)
    with pytest.raises(ContractError) as caught:
        decode_task(json.dumps(task))
    assert caught.value.field == field
    assert field in str(caught.value)


def test_exit_codes_follow_pytorchjobs_policy():
    assert 1 <= pod.EXIT_USER_ERROR <= 127
    assert 128 <= pod.EXIT_INFRASTRUCTURE <= 255


def test_a_task_is_frozen(tasks):
    task = decode_task(tasks["sft"])
    assert isinstance(task, StageTask)
    with pytest.raises(ValueError, match="frozen"):
        task.digest = "0"
