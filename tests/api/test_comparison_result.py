"""The result of ``compare`` in a termination message."""

import pytest

from fusionrun.api.results.result import RESULT_MAX_BYTES, Outcome, StageResult, decode_result, encode_result
from fusionrun.api.results.values import Compared, Difference, Evaluated

PAPER = ("alpaca-eval-2", "arena-hard", "mt-bench", "align-bench", "live-bench", "mmlu-pro", "mmlu-redux",
         "gpqa-diamond", "gsm8k", "math", "amc-23", "human-eval", "mbpp", "live-code-bench")  # fmt: skip
PAIRS = ("sft-base", "final-base", "final-sft")
DIFFERENCE = Difference(delta=-12.34, lower=-14.56, upper=-10.11, p_value=0.0014, prompts_needed=12345)


def sent(values):
    """Return the values as the operator reads them."""
    text = encode_result(StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=10**10, values=values))
    assert len(text.encode()) <= RESULT_MAX_BYTES
    return decode_result(text, values.kind).values


def compared(names, pairs=PAIRS):
    return Compared(differences={pair: dict.fromkeys(names, DIFFERENCE) for pair in pairs})


def test_the_papers_benchmarks_fit_with_all_numbers():
    assert sent(compared(PAPER)) == compared(PAPER)
    scores = dict.fromkeys(PAPER, 12.3456)
    values = Evaluated(scores=scores, graded=dict.fromkeys(PAPER, 14_042), lower=scores, upper=scores)
    assert sent(values) == values


@pytest.mark.parametrize("count", [30, 64])
def test_what_a_gate_needs_is_left_out_last(count):
    names = [f"{n:024d}" for n in range(count)]
    differences = sent(compared(names)).differences
    assert "final-base" in differences
    assert {d.lower for d in differences["final-base"].values()} == {-14.56}
    assert len(differences["final-base"]) == count


@pytest.mark.parametrize(
    ("difference", "written"),
    [
        (DIFFERENCE, [-12.34, -14.56, -10.11, 0.0014, 12345]),
        (Difference(delta=1.0), [1.0]),
        (Difference(), []),
        (Difference(delta=1.0, prompts_needed=9), [1.0, None, None, None, 9]),
    ],
)
def test_a_difference_is_a_list(difference, written):
    assert difference.model_dump(mode="json") == written
    assert Difference.model_validate(written) == difference
    assert Difference.model_validate({"delta": 1.0}).delta == 1.0
