"""The cluster that the end-to-end tests run on."""

import pytest

from support.live import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the test namespace, which hack/test/e2e has prepared."""
    return Cluster("fusionrun-test")
