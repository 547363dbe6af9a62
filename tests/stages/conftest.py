"""Fixtures of the stage tests."""

from importlib.util import find_spec

import pytest

from support.replies import Replies, running

if find_spec("torch") is None:  # an environment for the operator; ``make test-stages`` provides the libraries
    collect_ignore_glob = ["*"]


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_MOUNT", str(tmp_path))
    return tmp_path


@pytest.fixture
def server():
    with running(Replies()) as replies:
        yield replies
