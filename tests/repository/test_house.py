"""The rules of the house that no linter runs: what may lie where, and what no file may say."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
PYTHON = [p for p in TRACKED if p.suffix == ".py"]
LOCKS = {"go.sum", "go.mod"}


def is_lock(path: Path) -> bool:
    return path.suffix == ".lock" or path.name in LOCKS


TEXTS = {
    p.relative_to(ROOT): p.read_text()
    for p in TRACKED
    if not is_lock(p) and p.suffix not in (".png", ".gz", ".whl", ".zip")
}


def test_operator_is_a_bracket_and_never_a_package():
    """With an ``__init__.py`` or a loose module it would shadow the standard library's ``operator``."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").glob("*.py"))
    assert not (ROOT / "tests" / "operator").exists()


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_says_nothing_by_its_name(word):
    assert not [p for p in PYTHON if p.stem in (word, word.removesuffix("s"), f"_{word}")]


def test_no_module_bears_a_name_of_the_standard_library():
    import sys

    shipped = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in ("operator", "images")]
    assert not [p for p in shipped if p.stem in sys.stdlib_module_names and not p.stem.startswith("__")]


REGISTRY = re.compile(r"\b(docker\.io|quay\.io|gcr\.io|ghcr\.io|registry\.k8s\.io|nvcr\.io|mcr\.microsoft\.com)\b")
MACHINE = re.compile(r"(?<![\w.$}])/(work|root|home/[a-z]\w*)(?=[/\s\"'`:,)]|$)", re.MULTILINE)


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_no_file_names_a_registrys_host_or_a_path_of_one_machine(path):
    text = TEXTS[path]
    if path != Path(__file__).relative_to(ROOT):
        assert not REGISTRY.findall(text)
        assert not MACHINE.findall(text)


def test_no_module_has_two_jobs():
    """Past 400 lines something has two jobs (docs/architecture.md)."""
    long = {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in PYTHON}
    assert not {p: n for p, n in long.items() if n > 420 and p.parts[0] in ("operator", "images")}


def test_every_module_of_the_packages_says_what_it_is_for():
    shipped = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in ("operator", "images")]
    assert not [p for p in shipped if p.read_text().strip() and not p.read_text().startswith('"""')]


def test_scripts_can_be_run():
    scripts = [p for p in TRACKED if p.read_bytes()[:2] == b"#!"]
    assert not [p for p in scripts if not p.stat().st_mode & 0o100]
