"""The cluster of the end-to-end tests, and a Prometheus that scrapes it from the first test to the last."""

import os
from collections.abc import Iterator

import pytest

from support.live import Cluster
from support.prometheus import Prometheus, running


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the test namespace, which hack/test/e2e prepares."""
    return Cluster("fusionrun-test")


@pytest.fixture(scope="session", autouse=True)
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus | None]:
    """Run a Prometheus; None if this machine is no node of the cluster, and so reaches no pod."""
    if os.environ.get("CLUSTER", "local") != "local" or not os.environ.get("KUBECONFIG"):
        yield None
        return
    with running(tmp_path_factory.mktemp("prometheus")) as found:
        yield found
