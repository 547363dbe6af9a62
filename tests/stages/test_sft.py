"""SFT for real, on two processes: its loss, its masks, and what a kill at any time costs (nothing)."""

import json
import os
import signal
import time

import pytest

from fusionrun.api.result import Outcome

pytest.importorskip("torch")
pytest.importorskip("trl")

from support import tiny_llama
from support.tiny_llama import StagePod, train_parameters

STEPS = 14
"""Two epochs of 100 rows at 16 a step."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    tiny_llama.make_model(folder / "model")
    tiny_llama.write_sft(folder / "sft.parquet", long_rows=2)
    return folder


def start(world, name, processes=2, **changed):
    return StagePod(world / name, train_parameters("sft", world / "model", world / "sft.parquet", **changed), processes)


def kill_rank(pod, rank, when, signal_number=signal.SIGKILL):
    """Kill one rank as soon as ``when`` holds; return torchrun's exit code."""
    while not when():
        assert pod.process.poll() is None, pod.text
        time.sleep(0.002)
    os.kill(pod.process_of_rank(rank), signal_number)
    return pod.wait()


@pytest.fixture(scope="module")
def undisturbed(world):
    pod = start(world, "undisturbed")
    assert pod.wait() == 0, pod.text
    return pod


def test_the_loss_falls_and_everything_is_counted(undisturbed):
    result, manifest = undisturbed.result, undisturbed.manifest
    assert result.outcome is Outcome.SUCCEEDED
    assert result.values.steps == STEPS
    assert (result.values.rows, result.values.dropped_long) == (100, 2)
    # <bos><user>3+5=?<eot><assistant>8<eot>: five special tokens and the bytes.
    bytes_an_epoch = sum(len(f"{a}+{b}=?{a + b}") for a, b in tiny_llama.SUMS)
    assert result.values.tokens == 2 * (bytes_an_epoch + 5 * 100)
    assert result.values.last_loss < result.values.first_loss - 0.5
    assert len(manifest["details"]["losses"]) == STEPS


def test_the_model_loads_and_stops_at_its_end_of_turn(undisturbed):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = undisturbed.output / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert str(model.dtype) == "torch.float32"
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1]
    assert sorted(p.name for p in undisturbed.output.iterdir()) == ["finished.json", "manifest.json", "model"]
    assert "training_args.bin" not in {p.name for p in folder.iterdir()}


def test_a_kill_during_a_checkpoint_costs_the_steps_since_the_one_before(world, undisturbed):
    pod = start(world, "torn")
    newest = pod.output / "checkpoints/checkpoint-8"
    assert kill_rank(pod, 0, newest.is_dir) != 0
    assert pod.result is None or not pod.result.user_error
    assert not (pod.output / "manifest.json").exists()
    if (newest / "whole.json").exists():  # the write was faster than the kill: tear it by hand
        (newest / "whole.json").unlink()
    again = start(world, "torn")
    assert again.wait() == 0, again.text
    assert again.manifest["details"]["resumed_from"].endswith("checkpoint-4")
    assert "removed ['checkpoint-8']" in again.text
    assert again.manifest["details"]["losses"] == undisturbed.manifest["details"]["losses"]


def test_a_batch_that_does_not_divide_is_the_users_error_on_every_rank(world):
    pod = start(world, "batch", globalBatchSize=12)
    assert pod.wait() != 0
    assert pod.result.user_error
    assert "training.sft.globalBatchSize: 12" in pod.result.message


def test_a_template_that_hides_the_end_of_turn_is_the_users_error(world):
    bad = tiny_llama.make_model(world / "endless", template=tiny_llama.TEMPLATE.replace("+ '<eot>'", ""))
    parameters = train_parameters("sft", bad, world / "sft.parquet", zeroStage=0)
    pod = StagePod(world / "template", parameters, processes=0)
    assert pod.wait() == 2, pod.text
    assert pod.result.user_error
    assert "chat template of target.model" in pod.result.message
