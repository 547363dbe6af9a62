"""Rules about files and names that no linter checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fusionrun.api.stage import StageKind
from fusionrun.plan.kinds import kind_traits

ROOT = Path(__file__).parents[2]
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
PYTHON = [p for p in TRACKED if p.suffix == ".py"]
SHIPPED = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in ("operator", "images")]
TEXTS = {
    p.relative_to(ROOT): p.read_text()
    for p in TRACKED
    if p.suffix not in (".lock", ".sum", ".mod", ".png", ".gz", ".whl", ".zip")
}


def test_the_folder_operator_is_not_a_package():
    """As a package it would shadow the standard library's ``operator``."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").glob("*.py"))
    assert not (ROOT / "tests" / "operator").exists()


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_has_a_generic_name(word):
    assert not [p for p in PYTHON if p.stem in (word, word.removesuffix("s"), f"_{word}")]


def test_no_module_has_a_name_of_the_standard_library():
    assert not [p for p in SHIPPED if p.stem in sys.stdlib_module_names and not p.stem.startswith("__")]


REGISTRY = re.compile(r"\b(docker\.io|quay\.io|gcr\.io|ghcr\.io|registry\.k8s\.io|nvcr\.io|mcr\.microsoft\.com)\b")
MACHINE = re.compile(r"(?<![\w.$}])/(work|root|home/[a-z]\w*)(?=[/\s\"'`:,)]|$)", re.MULTILINE)


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE], ids=["registry", "path"])
def test_no_file_contains_the_host_of_a_registry_or_a_path_of_one_machine(pattern):
    this = Path(__file__).relative_to(ROOT)
    assert {str(path): found for path, text in TEXTS.items() if path != this and (found := pattern.findall(text))} == {}


def test_no_module_is_longer_than_420_lines():
    assert not {p: n for p in SHIPPED if (n := len(p.read_text().splitlines())) > 420}


def test_every_module_of_the_packages_has_a_docstring():
    assert not [p for p in SHIPPED if p.read_text().strip() and not p.read_text().startswith('"""')]


def test_scripts_are_executable():
    scripts = [p for p in TRACKED if p.read_bytes()[:2] == b"#!"]
    assert not [p for p in scripts if not p.stat().st_mode & 0o100]


def test_the_root_of_the_stage_package_has_one_module_per_kind_with_a_program():
    programs = {kind for kind in StageKind if not kind_traits(kind).is_server}
    shared = {"__init__", "__main__", "errors", "grade", "work"}
    assert {p.stem for p in (ROOT / "images" / "fusionrun_stages").glob("*.py")} == programs | shared
    assert all((ROOT / "tests" / "stages" / f"test_{kind}.py").is_file() for kind in programs)
