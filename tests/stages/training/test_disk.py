"""Training does not start without space for its checkpoints."""

import shutil
from contextlib import nullcontext
from typing import NamedTuple

import pytest

from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.fit.sizes import checkpoint_bytes
from fusionrun_stages.training import disk
from support import tiny_llama


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(
    ("changed", "checkpoints"),
    [
        ({"epochs": 2.0, "saveSteps": None}, 3),
        ({"epochs": 9.0, "saveSteps": None}, 4),
        ({"epochs": 1.0, "saveSteps": 100}, 1),
        ({"epochs": 1.0, "saveSteps": 4}, 2),
        ({"epochs": 9.0, "saveSteps": 4}, 4),
    ],
)
def test_only_checkpoints_that_are_written_and_kept_count(tmp_path, changed, checkpoints):
    parameters = parameters_of(tmp_path, **changed)
    assert disk.checkpoints_at_once(parameters, 100) == checkpoints  # 7 steps per epoch


@pytest.mark.parametrize(
    ("changed", "each"),
    [
        ({"zeroStage": 0}, 12),
        ({"zeroStage": 1}, 20),
        ({"zeroStage": 2}, 20),
        ({"zeroStage": 2, "precision": "bf16"}, 16),
        ({"zeroStage": 3}, 16),
        ({"zeroStage": 3, "precision": "bf16"}, 14),
    ],
)
def test_a_checkpoint_has_the_bytes_per_parameter_that_were_measured(tmp_path, changed, each):
    """Measured: 12.2, 21.0 for stage 2, 16.6 with bf16, 16.4 for stage 3, 14.1 with bf16; some 5 kB are not weights."""
    assert checkpoint_bytes(parameters_of(tmp_path, **changed), 1000) == 1000 * each


def parameters_of(tmp_path, **changed):
    fields = tiny_llama.train_parameters("sft", tmp_path / "model", tmp_path / "sft.parquet", **changed)
    return SftParameters.model_validate(fields)


def test_a_volume_without_space_is_refused_with_what_is_needed(tmp_path, monkeypatch):
    tiny_llama.make_model(tmp_path / "model")
    tiny_llama.write_sft(tmp_path / "sft.parquet")
    parameters = parameters_of(tmp_path, epochs=2.0, saveSteps=None, precision="bf16", zeroStage=3)
    needed = (3 * 14 + 2) * disk.parameter_count(tmp_path / "model")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed))
    disk.require_space(parameters, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed - 1))
    with pytest.raises(UserError, match=r"storage.claimName: training needs .* GB, for 3 checkpoints of .* GB free"):
        disk.require_space(parameters, tmp_path)
    for step in (4, 8):  # of an earlier pod
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "whole.json").write_text("{}")
    disk.require_space(parameters, tmp_path)


@pytest.mark.parametrize(("kind", "save_steps", "checkpoints", "models"), [("sft", None, 3, 1), ("dpo", 4, 4, 3)])
def test_with_lora_checkpoints_have_the_adapters_and_those_of_dpo_are_merged(
    tmp_path, monkeypatch, kind, save_steps, checkpoints, models
):
    model = tiny_llama.make_model(tmp_path / "model")
    tiny_llama.write_sft(tmp_path / "rows.parquet")
    changed = {"epochs": 2.0, "saveSteps": save_steps, "precision": "bf16", "zeroStage": 3, "lora": {"rank": 8}}
    fields = tiny_llama.train_parameters(kind, model, tmp_path / "rows.parquet", **changed)
    parameters = (SftParameters if kind == "sft" else DpoParameters).model_validate(fields)
    adapters = 16_384  # of peft, see test_sft
    needed = checkpoints * 14 * adapters + models * 2 * disk.parameter_count(model)
    for free, refused in ((needed, nullcontext()), (needed - 1, pytest.raises(UserError))):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Usage(free))
        with refused:
            disk.require_space(parameters, tmp_path)
