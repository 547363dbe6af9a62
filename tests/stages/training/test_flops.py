"""The FLOPs of a step, and their ratio to the peak of the GPUs in the progress."""

from types import SimpleNamespace

import pytest
import torch

from fusionrun_stages.training import callbacks
from fusionrun_stages.training.callbacks import ProgressCallback
from fusionrun_stages.training.flops import flops_per_token
from fusionrun_stages.training.trackers import Trackers


def parameter(size, *, trained=True, sharded=False):
    made = torch.nn.Parameter(torch.zeros(0 if sharded else size), requires_grad=trained)
    if sharded:
        made.ds_numel = size
    return made


@pytest.mark.parametrize(
    ("parameters", "with_reference", "expected"),
    [
        ([parameter(10), parameter(30)], False, 6 * 40),
        ([parameter(10), parameter(30)], True, 8 * 40),
        ([parameter(10, sharded=True)], False, 60),
        ([parameter(100, trained=False), parameter(2)], False, 4 * 102 + 2 * 2),
    ],
    ids=["SFT", "DPO", "ZeRO-3", "LoRA"],
)
def test_the_flops_of_a_token(parameters, with_reference, expected):
    assert flops_per_token(parameters, with_reference=with_reference) == expected


def progress_of(monkeypatch, *, cuda, bf16):
    """Return the numbers of a step with 3,000 tokens after 2 s, of a model with 1e9 parameters on four GPUs."""
    sent = []
    clock = iter((100.0, 102.0))
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    callback = ProgressCallback(lambda *_, **numbers: sent.append(numbers), Trackers(), with_reference=False)
    model = SimpleNamespace(parameters=lambda: [parameter(10**9, sharded=True)])
    callback.on_train_begin(SimpleNamespace(bf16=bf16), None, None, model=model)
    state = SimpleNamespace(global_step=1, max_steps=2)
    callback.on_log(None, state, None, logs={"loss": 1.0, "learning_rate": 1e-6, "num_tokens": 3000})
    return sent[0]


def test_the_utilisation_is_that_of_all_gpus(monkeypatch):
    numbers = progress_of(monkeypatch, cuda=True, bf16=True)
    assert numbers["tokens_per_second"] == 1500
    assert numbers["mfu"] == pytest.approx(1500 * 6e9 / (4 * 989.4e12))


@pytest.mark.parametrize(("cuda", "bf16"), [(False, True), (True, False)], ids=["CPU", "fp32"])
def test_without_a_known_peak_there_is_no_utilisation(monkeypatch, cuda, bf16):
    assert "mfu" not in progress_of(monkeypatch, cuda=cuda, bf16=bf16)
