"""Programs that some tests need: helm and kubectl."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(os.environ.get("FUSIONRUN_CACHE", Path.home() / ".cache" / "fusionrun"))


def skip(reason: str) -> NoReturn:
    """Skip a test, or fail it if FUSIONRUN_TEST_ALL is set (``make test``)."""
    if os.environ.get("FUSIONRUN_TEST_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def find(tool: str) -> str:
    """Find a tool on PATH or in the binaries of the local cluster."""
    found = shutil.which(tool) or shutil.which(tool, path=str(CACHE / "cluster" / "bin"))
    if not found:
        skip(f"{tool} is not installed (make cluster-up builds it)")
    return found
