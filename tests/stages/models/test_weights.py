"""One format of the weights is fetched."""

import json
import re
from contextlib import nullcontext

import pytest

from fusionrun_stages.errors import UserError
from fusionrun_stages.models.weights import INDEX, check_listed, files_of, weights_in, weights_of

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
MISTRAL = ["consolidated-00001-of-00002.safetensors", "consolidated.safetensors"]


@pytest.mark.parametrize(
    ("names", "index", "weights"),
    [
        ([*SHARDS, *MISTRAL, "original/x.safetensors"], SHARDS, SHARDS),
        ([*SHARDS, *MISTRAL], None, SHARDS),
        (["part/a.safetensors", "b.safetensors"], ["part/a.safetensors"], ["part/a.safetensors"]),
        (["model.safetensors", "adapter.safetensors"], None, ["model.safetensors"]),
        (["b.safetensors", "a.safetensors", "onnx/c.safetensors", "a.bin"], None, ["a.safetensors", "b.safetensors"]),
        (MISTRAL, None, MISTRAL),
        (["a.bin"], None, []),
    ],
)
def test_weights_are_those_that_transformers_loads(names, index, weights):
    assert weights_of(names, index and frozenset(index)) == weights


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        (None, None),
        (["a"], None),
        (["a", "c"], "lacks 1 of 2 files of its model.safetensors.index.json: 'c'"),
        (["c"], "lacks 1 of 1 files of its model.safetensors.index.json: 'c'"),
        ("cdefg", "lacks 5 of 5 files of its model.safetensors.index.json: 'c', 'd', 'e' and 2 more"),
        (["\ud83d" + "x" * 999], "json: '\\ud83d" + "x" * 99 + "'"),
    ],
)
def test_files_that_an_index_names_and_a_repository_lacks_are_counted(index, problem):
    with pytest.raises(UserError, match=re.escape(problem) + "$") if problem else nullcontext():
        check_listed(["a", "b"], index and frozenset(index), "where")


def test_the_configuration_of_another_format_comes_only_with_its_weights():
    small = ["config.json", "params.json", "tekken.json", "original/params.json", "README.md", "code/modeling.py"]
    both = files_of([*SHARDS, *MISTRAL, *small], None)
    assert both == [*SHARDS, "README.md", "code/modeling.py", "config.json", "tekken.json"]
    assert "params.json" in files_of([*MISTRAL, *small], None)


def test_weights_in_a_folder_are_those_that_are_downloaded(tmp_path):
    for name in (SHARDS[0], *MISTRAL, "original/x.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert weights_in(tmp_path) == [tmp_path / SHARDS[0]]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}))
    assert weights_in(tmp_path) == [tmp_path / SHARDS[0]]
    assert weights_in(tmp_path / "none") == []
