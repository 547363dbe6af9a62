"""The cluster of the end-to-end tests."""

import pytest

from support.live import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the test namespace, which hack/test/e2e prepares."""
    return Cluster("fusionrun-test")
