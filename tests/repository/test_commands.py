"""What the README and the Makefile promise is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
README = (ROOT / "README.md").read_text()
TARGETS = re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def test_every_target_has_a_help_text_and_is_no_file():
    assert TARGETS
    for target in TARGETS:
        assert re.search(rf"^{target}:[^\n]*## \S", MAKEFILE, re.MULTILINE), target
        assert re.search(rf"^\.PHONY: {target}$", MAKEFILE, re.MULTILINE), target


def test_make_help_lists_every_target():
    shown = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) <= {line.split()[0] for line in shown.splitlines() if line.startswith("  ")}


def test_the_targets_that_the_readme_names_exist():
    assert set(re.findall(r"make ([a-z][a-z-]+)", README)) <= set(TARGETS)


def test_the_scripts_that_the_makefile_runs_exist():
    for script in set(re.findall(r"\bhack/[a-z0-9/-]+", MAKEFILE)):
        assert (ROOT / script).exists(), script


def test_the_disk_that_is_asked_for_is_the_disk_that_is_told():
    folder = ROOT / "hack" / "cluster"
    (needed,) = re.findall(r"^DISK_NEEDED_GB=(\d+)$", (folder / "local" / "machine.sh").read_text(), re.MULTILINE)
    assert f"{needed} GB of disk" in README
    assert f"{needed} GB of disk" in (folder / "README.md").read_text()


def tree() -> str:
    return README.split("## Repository layout")[1].split("```")[1]


def test_the_readmes_tree_lists_every_room():
    rooms = [p.name for p in (ROOT / "operator" / "fusionrun").iterdir() if (p / "__init__.py").is_file()]
    tops = [p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] not in "._" and p.name != "dist"]
    for name in [*rooms, *tops]:
        assert re.search(rf"^ *{name}/", tree(), re.MULTILINE), name


def test_the_readmes_tree_lists_nothing_that_is_not_there():
    parents: list[str] = []
    for line in tree().strip().splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        parents = [*parents[: len(indent) // 2], name]
        assert (ROOT / "".join(parents)).exists(), line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_link_in_a_document_leads_somewhere(path):
    prose = re.sub(r"`[^`]*`", "", path.read_text())
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_cluster_gets_the_same_training_operator():
    folder = ROOT / "hack" / "cluster"
    (version,) = re.findall(r"^TRAINING_OPERATOR_VERSION=(.*)$", (folder / "requirements.sh").read_text(), re.MULTILINE)
    assert f"?ref={version}" in (folder / "training-operator" / "kustomization.yaml").read_text()
