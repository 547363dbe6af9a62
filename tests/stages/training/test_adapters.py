"""Adapters are merged once, also if the pod that merges them is killed."""

import pytest

from fusionrun_stages.training.adapters import merge


def test_what_a_killed_pod_has_left_of_a_merged_adapter_is_removed(tmp_path):
    """The configuration of the adapter is deleted first: without it peft could not load the adapter again."""
    for name in ("model.safetensors", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    merge("no such model", tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_adapter_is_deleted_only_after_the_merge(tmp_path):
    pytest.importorskip("peft")
    names = ["adapter_config.json", "adapter_model.safetensors"]
    for name in names:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises((OSError, ValueError)):
        merge(str(tmp_path / "no-such-model"), tmp_path, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
