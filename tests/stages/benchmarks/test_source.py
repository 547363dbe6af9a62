"""A layout finds its files by name, wherever they are below the folder."""

import pytest

from fusionrun_stages.benchmarks.source import Source
from fusionrun_stages.errors import UserError
from support.benchmarks import write


def source_of(folder, files):
    return Source(write(folder, files), "benchmarks[b]", "test")


def test_the_only_file_of_a_name_is_found_outside_of_hidden_folders(tmp_path):
    source = source_of(tmp_path, {"a/b/q.jsonl": "{}", ".cache/q.jsonl": "metadata", "a/other.jsonl": ""})
    assert source.find("q.jsonl", origin="x") == tmp_path / "a/b/q.jsonl"
    assert source.find_optional("none.jsonl") is None


def test_equal_copies_are_one_file_and_different_ones_are_an_error(tmp_path):
    source = source_of(tmp_path, {"a/q.jsonl": "1", "b/q.jsonl": "1"})
    assert source.find("q.jsonl", origin="x").name == "q.jsonl"
    write(tmp_path, {"b/q.jsonl": "2"})
    with pytest.raises(UserError, match=r"benchmarks\[b\]: .*several files 'q.jsonl': a/q.jsonl, b/q.jsonl: name one"):
        source.find("q.jsonl", origin="x")
    assert source.find("q.jsonl", origin="x", prefer=("b/",)) == tmp_path / "b/q.jsonl"


def test_a_file_instead_of_a_folder_lacks_the_other_files(tmp_path):
    source_of(tmp_path, {"q.jsonl": "1", "answers.jsonl": "2"})
    source = Source(tmp_path / "q.jsonl", "benchmarks[b]", "test")
    assert source.find("q.jsonl", origin="x") == tmp_path / "q.jsonl"
    with pytest.raises(
        UserError, match=r"lacks a file 'answers.jsonl': get it from x: give the folder that contains all"
    ):
        source.find("answers.jsonl", origin="x")


def test_a_missing_folder_and_a_link_out_of_the_volume_are_errors(volume):
    with pytest.raises(UserError, match=r"benchmarks\[b\]: '.*/none': no such file or folder"):
        Source(volume / "none", "benchmarks[b]", "test").find("q.jsonl", origin="x")
    (volume / "in").mkdir()
    (volume / "in" / "q.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="leads out of the volume"):
        Source(volume / "in", "benchmarks[b]", "test").find("q.jsonl", origin="x")
