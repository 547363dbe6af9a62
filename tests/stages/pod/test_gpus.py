"""A pod uses the GPUs that it requests, or its stage fails before it loads anything.

These tests must pass on machines without a GPU. They replace the three functions of torch.cuda that call the driver
(is_available, device_count, init) and the file with the driver's version.
"""

import logging
import os
import sys

import pytest

from fusionrun_stages.errors import UserError
from fusionrun_stages.pod import gpus
from fusionrun_stages.pod.gpus import require_gpus
from support.tiny_llama import StagePod, train_parameters

OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (u@h)  Thu Jul 11 12:00:00\n"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver"


@pytest.fixture(autouse=True)
def no_devices(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "DEVICE_FOLDER", tmp_path)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that sets the GPUs of CUDA and NVML, the driver's version, and the error of CUDA."""
    torch = pytest.importorskip("torch")

    def make(*, cuda=0, nvml=None, driver=None, built="13.0", reason=None):
        def init():
            if reason:
                raise RuntimeError(reason)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda if nvml is None else nvml)
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.version, "cuda", built)
        monkeypatch.setattr(gpus, "DRIVER_FILE", tmp_path / "version")
        if driver:
            (tmp_path / "version").write_text(OPEN_MODULE.format(driver))

    return make


@pytest.mark.parametrize("seen", [2, 8])
def test_the_requested_gpus_or_more_are_accepted(machine, seen):
    machine(cuda=seen, driver="580.65.06")
    require_gpus(2)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"cuda": 1, "driver": "580.65.06"},
            r"pod requests 2 and PyTorch sees 1: .*driver is 580\.65\.06; set spec\.scheduling\.gpuRuntimeClassName",
        ),
        (
            {"nvml": 2, "driver": "550.54.15", "reason": TOO_OLD},
            r"sees 0: .*CUDA 13\.0 .*580 or newer; the node's driver is 550\.54\.15; upgrade the driver .*too old",
        ),
        ({"nvml": 2, "driver": "550.54.15", "built": "12.9"}, r"525 or newer.*gpuRuntimeClassName .*RKE2: nvidia"),
        ({"reason": "Found no NVIDIA driver"}, r"is unknown.*gpuRuntimeClassName .*or install the driver.*Found no"),
        ({"built": None}, r"is not built for CUDA: set images\.train and images\.reward"),
    ],
    ids=["fewer", "driver too old", "no RuntimeClass", "no driver", "image without CUDA"],
)
def test_fewer_gpus_than_requested_are_a_user_error_with_a_fix(machine, facts, message):
    machine(**facts)
    with pytest.raises(UserError, match=message):
        require_gpus(2)


def test_a_pod_that_requests_no_gpu_uses_none_and_imports_no_torch(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch", None)  # its import fails
    caplog.set_level(logging.WARNING, logger="fusionrun_stages")
    require_gpus(0)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], caplog.text) == ("", "")
    (tmp_path / "nvidia0").touch()
    require_gpus(0)
    assert "requests none: they are not used" in caplog.text


PROMOTE = {
    "kind": "promote", "dpoDir": "/none", "referenceModelPath": "/none", "heldOutPath": "/none", "saveSteps": 1,
    "beta": 10.0, "lengthNormalized": True, "maxLength": 64,
}  # fmt: skip
SCORE = {
    "kind": "score", "source": "s", "modelPath": "/none", "promptsDir": "/none", "responsesDir": "/none", "shards": 1,
    "batchSize": 1, "maxLength": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "processes"),
    [
        (train_parameters("sft", "/none", "/none"), 2),
        (train_parameters("dpo", "/none", "/none"), 0),
        (PROMOTE, 0),
        (SCORE, 0),
    ],
    ids=["sft under torchrun", "dpo", "promote", "score"],
)
def test_a_stage_without_its_gpus_fails_before_it_reads_its_inputs(tmp_path, parameters, processes):
    """Real PyTorch on a machine without GPUs; the inputs of the stage do not exist."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    pod = StagePod(tmp_path, parameters, processes, gpus=1)
    code = pod.wait()
    assert code == (1 if processes else 2), pod.text
    assert pod.result.user_error
    assert "GPUs: the pod requests 1 and PyTorch sees 0" in pod.result.message
