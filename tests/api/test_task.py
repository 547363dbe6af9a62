"""The words between operator and pod: what one writes the other reads."""

import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api import task as words
from fusionrun.api.parameters import Parameters
from fusionrun.api.result import RESULT_MAX_BYTES, Outcome, StageResult, dataset_count, decode_result, encode_result
from fusionrun.api.stage import StageKind
from fusionrun.api.task import CONTRACT_VERSION, StageTask, decode_task, encode_task
from fusionrun.errors import ContractError
from support.properties import quick
from support.runs import make_run
from support.world import World

TERMINATION_MESSAGE_BYTES = 4096
"""Source: Kubernetes, "Customizing the termination message"."""


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


counts = st.dictionaries(st.text("abcdef:", min_size=1, max_size=20), st.integers(0, 10**9), max_size=30)


@quick
@given(st.text('a é"\\\x01\n😀', max_size=1024), counts, st.booleans())
def test_last_words_fit_a_termination_message_and_keep_their_numbers(message, numbers, user_error):
    said = StageResult(outcome=Outcome.FAILED, message=message, counts=numbers, user_error=user_error)
    text = encode_result(said)
    assert len(text.encode()) <= RESULT_MAX_BYTES
    heard = decode_result(text)
    assert heard.counts == numbers
    assert heard.user_error is user_error
    assert message.startswith(heard.message)


def test_counts_of_single_data_sets_go_first_where_the_result_is_too_long():
    of_datasets = {dataset_count(kind, f"{n:02d}" * 12): 10**6 for n in range(64) for kind in ("sft", "pairs")}
    said = StageResult(outcome=Outcome.SUCCEEDED, message="kept", counts={"sft_rows": 7} | of_datasets)
    text = encode_result(said)
    assert len(text.encode()) <= RESULT_MAX_BYTES
    assert decode_result(text) == said.model_copy(update={"counts": {"sft_rows": 7}})
    few = said.model_copy(update={"counts": {"sft_rows": 7, dataset_count("sft", "math"): 3}})
    assert decode_result(encode_result(few)) == few


def test_a_message_of_control_characters_is_cut_too():
    said = StageResult(outcome=Outcome.FAILED, message="\x01" * 1024, counts={"rows": 7})
    assert len(encode_result(said).encode()) <= RESULT_MAX_BYTES
    assert decode_result(encode_result(said)).counts == {"rows": 7}


def test_a_short_message_is_kept_whole():
    said = StageResult(outcome=Outcome.FAILED, message="sources[ada]: 'x': no such directory")
    assert decode_result(encode_result(said)) == said


def test_the_answer_of_resolve_to_the_largest_spec_fits_a_termination_message():
    references = 2 + 32 + 64 + 64
    stages = 32 * 6 + 40
    said = StageResult(outcome=Outcome.SUCCEEDED, pins=["0" * 12] * references, complete=list(range(stages)),
                       counts={"peak_memory_bytes": 2**40, "references": references, "complete": stages})  # fmt: skip
    assert len(encode_result(said).encode()) <= TERMINATION_MESSAGE_BYTES
    assert decode_result(encode_result(said)) == said


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "{}", '{"outcome": "Perhaps"}', "null"])
def test_what_is_no_result_is_none(text):
    assert decode_result(text) is None


def test_exit_codes_follow_pytorchjobs_policy():
    assert 1 <= words.EXIT_USER_ERROR <= 127
    assert 128 <= words.EXIT_INFRASTRUCTURE <= 255


def test_a_task_is_frozen(tasks):
    task = decode_task(tasks["sft"])
    assert isinstance(task, StageTask)
    with pytest.raises(ValueError, match="frozen"):
        task.digest = "0"
