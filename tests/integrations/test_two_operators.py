"""Two operators outside the cluster share a Lease in it: the one that acts is killed or paused."""

import asyncio
import os
import signal
import uuid

import pytest

from support.live import Cluster
from support.operator_process import SECONDS, operator_process, until

pytestmark = pytest.mark.integrations
LIMIT = 20.0
"""Seconds within which another operator must act."""


@pytest.fixture
def namespace():
    """Create a namespace for the Lease and for the operators to watch; no other operator has anything to do in it."""
    name = f"lease-{uuid.uuid4().hex[:8]}"
    cluster = Cluster(name)
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
async def test_another_operator_acts_within_20_seconds(tmp_path, namespace, number):
    settings = {"lease_namespace": namespace, "namespaces": [namespace]}
    environment = dict(os.environ)
    async with operator_process(tmp_path / "a.yaml", settings, environment) as (first, probe_first):
        await until(probe_first, leader=True)
        async with operator_process(tmp_path / "b.yaml", settings, environment) as (_, probe_second):
            await until(probe_second, leader=False)
            first.send_signal(number)
            await until(probe_second, LIMIT, leader=True)
            if number is signal.SIGSTOP:
                first.send_signal(signal.SIGCONT)
                assert await asyncio.wait_for(first.wait(), SECONDS) == 1
                assert (await probe_second())["leader"] is True
