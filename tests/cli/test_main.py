"""The choice between the operator and a command."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from fusionrun.__main__ import main
from fusionrun.cli import main as cli

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_the_plugin_of_kubectl():
    (program, target) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].popitem()
    module, _, function = target.partition(":")
    assert program == "kubectl-fusionrun"
    assert getattr(import_module(module), function) is cli.main


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_text(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "-h"])
    assert ended.value.code == 0
    assert f"usage: kubectl fusionrun {command}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    assert main(["lnt", "run.yaml"]) == 2
    assert "unknown command 'lnt'" in capsys.readouterr().err
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


def test_without_a_command_it_is_the_operator(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "The FusionRun operator." in out
    assert "lint, plan, check" in out


def test_a_reader_that_ends_early_is_no_error():
    command = [sys.executable, "-m", "fusionrun", "plan", ROOT / "manifests/samples/one-gpu.yaml"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
