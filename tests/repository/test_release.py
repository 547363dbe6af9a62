"""``hack/release`` sets the version in every file that contains it."""

import shutil
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from fusionrun import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture
def release():
    loader = SourceFileLoader("hack_release", str(ROOT / "hack" / "release"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_all_files_have_the_same_version(release):
    assert release.versions() == {__version__}


def test_a_new_version_is_set_in_all_files(release, tmp_path, monkeypatch):
    for path in release.FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    monkeypatch.setattr(release, "REPOSITORY", tmp_path)
    release.set_version("98.7.6")
    assert release.versions() == {"98.7.6"}
    assert (tmp_path / "helm/fusionrun/Chart.yaml").read_text().count("98.7.6") == 2
