"""The commands of docs/getting-started.md and of the README that need no cluster work, and the others name what exists.

The output of the first is that of the page.
"""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from fusionrun.cli import main as cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text()
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```(?:\n+```text\n(.*?)```)?", f"{PAGE}\n{README}", re.DOTALL)
OFFLINE = [
    (command, shown)
    for commands, shown in BLOCKS
    for command in commands.splitlines()
    if re.match(r"kubectl fusionrun (lint|plan) ", command) and "--settings" not in command
]


@pytest.mark.parametrize(("command", "shown"), OFFLINE, ids=[command for command, _ in OFFLINE])
def test_a_command_prints_what_the_page_shows(command, shown, capsys, monkeypatch):
    """A line with an ellipsis stands for the rest of the line, or for any number of lines."""
    monkeypatch.chdir(ROOT)
    assert cli.main(shlex.split(command, comments=True)[2:]) == 0
    printed = iter(capsys.readouterr().out.splitlines())
    for line in shown.splitlines():
        if line != "…":
            start = line.removesuffix("…")
            assert any(p.startswith(start) if line.endswith("…") else p == line for p in printed), line


def test_the_output_of_two_commands_is_compared():
    assert sum(bool(shown) for _, shown in OFFLINE) == 2
    assert len(OFFLINE) == 5


@pytest.mark.parametrize("commands", [commands for commands, _ in BLOCKS])
def test_the_files_and_values_in_the_commands_exist(commands):
    values = yaml.safe_load((ROOT / "helm" / "fusionrun" / "values.yaml").read_text())
    for name in re.findall(r"\b(?:manifests|hack|helm)/[\w./-]+", commands):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"--set ([\w.]+)=", commands):
        found = values
        for part in name.split("."):
            found = found[part]


def test_the_gated_models_of_the_page_are_models_of_the_sample():
    sample = (ROOT / "manifests" / "samples" / "llama-3-1-8b.yaml").read_text()
    (row,) = [line for line in PAGE.splitlines() if "models are gated" in line]
    gated = re.findall(r"`([\w.-]+/[\w.-]+)`", row)
    assert len(gated) == 4
    assert all(f"hf://{name}" in sample for name in gated)
