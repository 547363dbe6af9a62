"""The checks of the demo: a run fails if it misses one of them."""

import pytest
from gate import judge


def status(*deltas: float, loss: float = 0.6, accuracy: float = 0.8, **dpo) -> dict:
    return {
        "results": [{"benchmark": f"b{i}", "delta": d} for i, d in enumerate(deltas)],
        "stages": [{"name": "dpo", "loss": loss, "rewardAccuracy": accuracy, **dpo}],
    }


def failed(found: dict) -> list[str]:
    return [line for holds, line in judge(found) if not holds]


def test_a_run_that_reaches_all_thresholds_passes():
    assert failed(status(20, 1, 39)) == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (status(60, -0.1, 30), "b1: final - base -0.1"),
        (status(60, 0, 30), "b1"),
        (status(20, 19.9, 20), "average: final - base +20.0"),
        (status(60, 60), "2 benchmarks"),
        (status(30, 30, 30, loss=0.6932), "last loss 0.6932"),
        (status(30, 30, 30, accuracy=0.5), "reward accuracy 0.50"),
        ({"results": status(30, 30, 30)["results"]}, "last loss nan"),
    ],
)
def test_a_missed_threshold_fails_and_is_named(found, message):
    assert message in failed(found)[0]


def test_a_run_without_results_fails():
    assert failed({})


def test_a_cached_training_is_not_checked_again():
    assert failed(status(30, 30, 30, loss=1, cacheHit=True)) == []
