"""Programs that some tests need: helm, kubectl and promtool."""

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
    """Find a tool on PATH, in the binaries of the local cluster, or in the package of hack/prometheus."""
    places = os.pathsep.join(str(CACHE / place) for place in ("cluster/bin", "prometheus/usr/bin"))
    found = shutil.which(tool) or shutil.which(tool, path=places)
    if not found:
        skip(f"{tool} is not installed (make cluster-up builds kubectl and helm, make test-alerts unpacks promtool)")
    return found
