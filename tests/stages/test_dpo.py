"""dpo on two processes: loss, kept checkpoints, resume after a kill."""

import math
from functools import cache
from types import SimpleNamespace

import pytest
from transformers import TrainerState

from fusionrun_stages.errors import UserError
from fusionrun_stages.training.callbacks import FirstLossCheck, ProgressCallback
from fusionrun_stages.training.trackers import Trackers
from support import tiny_llama
from support.tiny_llama import LAST_DIGIT, StagePod, train_parameters


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dpo")
    tiny_llama.make_model(folder / "model")
    tiny_llama.write_pairs(folder / "pairs.parquet", quoting=True)
    return folder


def start(inputs, name, processes=2, **changed):
    parameters = train_parameters("dpo", inputs / "model", inputs / "pairs.parquet", **changed)
    return StagePod(inputs / name, parameters, processes)


STEPS_OF_AN_EPOCH = 7
VARIANTS = {
    "one-process": {"zeroStage": 0},
    "zero-3": {"zeroStage": 3},
    "zero-2": {"zeroStage": 2},
    "bf16": {"precision": "bf16", "gradientCheckpointing": True, "lengthNormalized": False, "beta": 0.1},
    "lora": {"zeroStage": 3, "lora": {"rank": 8, "alpha": 8}},
}


@pytest.fixture(scope="module")
def trained_as(inputs):
    """Return a function that returns the pod of a variant, which has ended."""

    @cache
    def find(variant):
        pod = start(inputs, variant, 0 if variant == "one-process" else 2, **VARIANTS[variant])
        assert pod.wait() == 0, pod.text
        return pod

    return find


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_starts_at_ln_2_and_decreases(trained_as, variant):
    pod = trained_as(variant)
    trained = pod.result.values
    assert trained.first_loss == pytest.approx(math.log(2), abs=1e-3)
    assert trained.last_loss < trained.first_loss - 0.05
    assert trained.last_reward_accuracy > trained.first_reward_accuracy
    assert trained.rows == len(tiny_llama.SUMS)
    assert pod.manifest["details"]["unusable_rows"] == {"special_tokens": 10}
    kept = sorted(path.name for path in (pod.output / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-8"] == sorted(pod.manifest["details"]["checkpoints"])
    assert not list(pod.output.glob("checkpoints/*/global_step*"))
    assert (pod.output / "checkpoints/checkpoint-12/model.safetensors").is_file()


@pytest.mark.parametrize("variant", ["zero-2", "zero-3"])
def test_the_losses_do_not_depend_on_where_the_state_is(trained_as, variant):
    # The last step of an epoch has 4 pairs. For two processes, pairs are repeated so that both have a micro-batch.
    found, expected = (
        trained_as(name).manifest["details"]["losses"][: STEPS_OF_AN_EPOCH - 1] for name in (variant, "one-process")
    )
    assert found == pytest.approx(expected, abs=LAST_DIGIT)


def test_a_resumed_dpo_keeps_the_sft_model_as_reference(inputs, trained_as):
    pod = start(inputs, "killed")
    assert pod.kill_rank(0, (pod.output / "checkpoints/checkpoint-8/whole.json").is_file) != 0
    assert not (pod.output / "manifest.json").exists()
    again = start(inputs, "killed", offload="Optimizer")  # may change during a run
    assert again.wait() == 0, again.text
    assert again.manifest["details"]["resumed_from"] is not None
    losses = trained_as("zero-3").manifest["details"]["losses"]
    assert again.manifest["details"]["losses"] == pytest.approx(losses, abs=LAST_DIGIT)


def test_a_first_loss_other_than_ln_2_is_an_error():
    first, later = TrainerState(global_step=1), TrainerState(global_step=2)
    FirstLossCheck().on_log(None, first, None, logs={"loss": math.log(2) + 9e-4})
    FirstLossCheck().on_log(None, later, None, logs={"loss": 0.1})
    for wrong in (math.log(2) + 2e-3, float("nan")):
        with pytest.raises(UserError, match="not ln 2"):
            FirstLossCheck().on_log(None, first, None, logs={"loss": wrong})


@pytest.mark.parametrize("first", [True, False], ids=["rank-0", "rank-1"])
def test_progress_of_every_rank_has_the_training_numbers_and_a_nan_ends_the_training(first):
    sent = []
    report, trackers = lambda *position, **numbers: sent.append((position, numbers)), Trackers()
    callback = ProgressCallback(report, trackers, with_reference=True)
    state = SimpleNamespace(global_step=3, max_steps=12, is_world_process_zero=first)
    logs = {"loss": 0.6, "epoch": 0.5, "learning_rate": 1e-6, "grad_norm": 1.5, "num_tokens": 100}
    logs |= {"rewards/accuracies": 0.75, "rewards/margins": 0.1}
    callback.on_log(None, state, None, logs=logs)
    ((position, numbers),) = sent
    assert position == (3, 12, "steps")
    assert numbers.pop("tokens_per_second") > 0
    assert numbers == {
        "loss": 0.6, "epoch": 0.5, "learning_rate": 1e-6, "gradient_norm": 1.5, "reward_accuracy": 0.75,
        "reward_margin": 0.1,
    }  # fmt: skip
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="the loss of step 3 is"):
            callback.on_log(None, state, None, logs=logs | {"loss": wrong})
