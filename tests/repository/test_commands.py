"""The commands, files and links in the README, the Makefile and the documents exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
PHONY = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)[1].split()
README = (ROOT / "README.md").read_text()
TARGETS = re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "helm" / "fusionrun" / "README.md"]


def test_every_target_has_a_help_text_and_is_phony():
    assert TARGETS
    for target in TARGETS:
        assert re.search(rf"^{target}:[^\n]*## \S", MAKEFILE, re.MULTILINE), target
        assert target in PHONY


def test_make_help_lists_every_target():
    shown = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) <= {line.split()[0] for line in shown.splitlines() if line.startswith("  ")}


def test_the_targets_in_the_readme_exist():
    assert set(re.findall(r"make ([a-z][a-z-]+)", README)) <= set(TARGETS)


def test_the_scripts_in_the_makefile_exist():
    for script in set(re.findall(r"\bhack/[a-z0-9/-]+", MAKEFILE)):
        assert (ROOT / script).exists(), script


def test_the_documents_give_the_required_disk():
    folder = ROOT / "hack" / "cluster"
    (needed,) = re.findall(r"^DISK_NEEDED_GB=(\d+)$", (folder / "local" / "machine.sh").read_text(), re.MULTILINE)
    assert f"{needed} GB of disk" in README
    assert f"{needed} GB of disk" in (folder / "README.md").read_text()


def tree() -> str:
    return README.split("## Repository layout")[1].split("```")[1]


def test_the_tree_in_the_readme_lists_every_package_and_folder():
    packages = [p.name for p in (ROOT / "operator" / "fusionrun").iterdir() if (p / "__init__.py").is_file()]
    tops = [p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] not in "._" and p.name != "dist"]
    for name in [*packages, *tops]:
        assert re.search(rf"^ *{name}/", tree(), re.MULTILINE), name


def test_the_paths_of_the_tree_in_the_readme_exist():
    parents: list[str] = []
    for line in tree().strip().splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        parents = [*parents[: len(indent) // 2], name]
        assert (ROOT / "".join(parents)).exists(), line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_targets_of_links_exist(path):
    prose = re.sub(r"`[^`]*`", "", path.read_text())
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_all_clusters_get_the_same_training_operator():
    folder = ROOT / "hack" / "cluster"
    (version,) = re.findall(r"^TRAINING_OPERATOR_VERSION=(.*)$", (folder / "requirements.sh").read_text(), re.MULTILINE)
    assert f"?ref={version}" in (folder / "training-operator" / "kustomization.yaml").read_text()
