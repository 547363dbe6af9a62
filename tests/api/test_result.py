"""A result fits a termination message, and reads back as it was written."""

import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.records import DropReason
from fusionrun.api.results.result import RESULT_MAX_BYTES, Outcome, StageResult, decode_result, encode_result
from fusionrun.api.results.values import (
    Constructed,
    DatasetCounts,
    Evaluated,
    Generated,
    Prepared,
    Resolved,
    SourceCounts,
    Trained,
    Values,
    Verified,
)
from fusionrun.api.stage import StageKind
from fusionrun.api.storable import SUMMAND_MAX
from support.properties import quick

TERMINATION_MESSAGE_BYTES = 4096
"""Source: Kubernetes, "Customizing the termination message"."""
NAME = st.text("abc-", min_size=1, max_size=24)
COUNT = st.integers(0, SUMMAND_MAX)
SHARE = st.none() | st.floats(0, 1)
VALUES = st.one_of(
    st.builds(Resolved, pins=st.lists(st.text("0af", min_size=12, max_size=12)), complete=st.lists(st.integers(0, 99))),
    st.builds(Generated, responses=COUNT, cost_micro=st.none() | COUNT, tokens_per_second=SHARE),
    st.builds(Verified, right=COUNT, wrong=COUNT, unknown=COUNT),
    st.builds(Trained, kind=st.just(StageKind.DPO), steps=COUNT, last_loss=SHARE, last_reward_accuracy=SHARE),
    st.builds(Evaluated, scores=st.dictionaries(NAME, st.floats(0, 100)), graded=st.dictionaries(NAME, COUNT)),
    st.builds(
        Constructed,
        sft_rows=COUNT,
        by_source=st.dictionaries(NAME, st.builds(SourceCounts, sft_rows=COUNT, pairs=COUNT, win_rate=SHARE)),
        by_dataset=st.none() | st.dictionaries(NAME, st.builds(DatasetCounts, sft_rows=COUNT, pairs=COUNT)),
        drops=st.dictionaries(st.sampled_from([str(reason) for reason in DropReason]), COUNT),
    ),
)


def succeeded(values: Values) -> StageResult:
    return StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=2**40, values=values)


def test_every_kind_with_a_program_has_its_values():
    classes = typing.get_args(typing.get_args(Values)[0])
    kinds = [kind for c in classes for kind in typing.get_args(c.model_fields["kind"].annotation)]
    assert sorted(kinds) == sorted(set(StageKind) - {StageKind.SERVE})


@quick
@given(VALUES, st.booleans())
def test_a_result_reads_back_as_it_was_written(values, cached):
    result = succeeded(values).model_copy(update={"cached": cached})
    assert decode_result(encode_result(result), values.kind) == result


@quick
@given(st.text('a é"\\\x01\n😀', max_size=1024), st.booleans())
def test_the_message_of_a_failed_pod_is_cut_if_it_is_too_long(message, user_error):
    text = encode_result(StageResult(outcome=Outcome.FAILED, message=message, user_error=user_error))
    assert len(text.encode()) <= RESULT_MAX_BYTES
    found = decode_result(text)
    assert found.user_error is user_error
    assert message.startswith(found.message)
    assert len(found.message) >= min(len(message), 400)  # what fits if every character needs an escape


def test_a_short_message_is_kept_whole():
    failed = StageResult(outcome=Outcome.FAILED, message="sources[ada]: 'x': no such directory")
    assert decode_result(encode_result(failed)) == failed


def constructed(sources: int, datasets: int) -> Constructed:
    """Return the values of a construction with the longest names."""
    return Constructed(
        sft_rows=10**6,
        pairs=10**6,
        mean_margin=0.123456,
        by_source={f"{n:024d}": SourceCounts(sft_rows=10**6, pairs=10**6, win_rate=0.1234) for n in range(sources)},
        by_dataset={f"{n:024d}": DatasetCounts(sft_rows=10**6, pairs=10**6) for n in range(datasets)},
        drops={str(reason): 10**6 for reason in DropReason},
    )


@pytest.mark.parametrize(
    ("sources", "datasets", "flat", "without"),
    [
        (2, 4, {"sft_rows", "drop:Code", f"sft:{1:024d}", f"sft@{1:024d}"}, {}),
        (2, 14, {"sft_rows", "drop:Code", f"sft:{1:024d}"}, {}),
        (4, 20, {"sft_rows"}, {}),
        (4, 64, {"sft_rows"}, {"by_dataset"}),
        (32, 64, {"sft_rows"}, {"by_dataset", "win_rate"}),
    ],
)
def test_a_result_that_is_too_long_loses_detail_in_order(sources, datasets, flat, without):
    values = constructed(sources, datasets)
    text = encode_result(succeeded(values))
    assert len(text.encode()) <= RESULT_MAX_BYTES
    if "by_dataset" in without:
        values = values.model_copy(update={"by_dataset": None})
    if "win_rate" in without:
        by_source = {name: one.model_copy(update={"win_rate": None}) for name, one in values.by_source.items()}
        values = values.model_copy(update={"by_source": by_source})
    assert decode_result(text) == succeeded(values)
    written = json.loads(text)["counts"].keys()
    seen = {"sft_rows", "drop:Code", f"sft:{1:024d}", f"sft@{1:024d}"} & written
    assert seen == flat


def test_every_score_of_the_largest_evaluation_fits():
    scores = {f"{n:024d}": 12.3456 for n in range(64)}
    text = encode_result(succeeded(Evaluated(scores=scores, graded=dict.fromkeys(scores, 10**6))))
    assert len(text.encode()) <= RESULT_MAX_BYTES
    assert decode_result(text, "evaluate").values == Evaluated(scores=scores)


def test_the_result_of_resolve_for_the_largest_spec_fits_a_termination_message():
    references = 2 + 32 + 64 + 64
    stages = 32 * 6 + 40
    result = succeeded(Resolved(pins=["0" * 12] * references, complete=list(range(stages))))
    assert len(encode_result(result).encode()) <= TERMINATION_MESSAGE_BYTES
    assert decode_result(encode_result(result), "resolve") == result


def test_the_prompts_of_every_data_set_fit():
    values = Prepared(prompts=10**9, duplicates=10**9, by_dataset={f"{n:024d}": 10**7 for n in range(64)})
    text = encode_result(succeeded(values))
    assert len(text.encode()) <= RESULT_MAX_BYTES
    assert decode_result(text, "prepare").values == values


def test_what_prepare_dropped_has_a_reason():
    assert sum(Prepared(prompts=9, duplicates=1, near_duplicates=2, code=3, bad_rows=4).drops.values()) == 10


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "{}", '{"outcome": "Perhaps"}', "null"])
def test_another_text_is_no_result(text):
    assert decode_result(text, "sft") is None
