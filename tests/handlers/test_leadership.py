"""Whether the operator acts, and what its probes say meanwhile."""

import asyncio
import json

import pytest
from aiohttp.test_utils import make_mocked_request

from fusionrun.cluster.store import Store
from fusionrun.errors import NotLeaderError
from fusionrun.handlers.health import health
from fusionrun.handlers.leadership import Leadership
from fusionrun.handlers.resync import Resync


class Lease:
    """A Lease that the test grants and takes away."""

    def __init__(self):
        self.granted, self.lost, self.released, self.other = asyncio.Event(), asyncio.Event(), 0, "pod-a"

    async def acquire(self):
        await self.granted.wait()

    async def keep(self):
        await self.lost.wait()

    async def release(self):
        self.released += 1

    def guard(self):
        if not self.granted.is_set() or self.lost.is_set():
            raise NotLeaderError


async def probe(leadership, path, resync=None):
    application = health(resync or Resync(None, (), Store(), None, 60), leadership.waits_for)
    request = make_mocked_request("GET", path, app=application)
    route = await application.router.resolve(request)
    reply = await route.handler(request)
    return reply.status, reply.text


async def test_it_acts_only_with_the_lease_and_releases_it_at_the_end(until):
    lease, stop, reported, acted = Lease(), asyncio.Event(), [], []
    leadership = Leadership(lease, reported.append)

    async def run():
        async with leadership.held(stop):
            acted.append(not stop.is_set())
            await stop.wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0.01)
    assert (acted, reported) == ([], [0])
    assert leadership.waits_for() == "pod-a"
    with pytest.raises(NotLeaderError):
        leadership.guard()
    status, text = await probe(leadership, "/healthz")
    assert (status, json.loads(text)) == (200, {"leader": False, "holder": "pod-a"})
    assert (await probe(leadership, "/readyz"))[0] == 200
    lease.other = ""
    assert (await probe(leadership, "/readyz"))[0] == 503, "it may not read Leases, and no other operator is known"
    lease.granted.set()
    await until(lambda: acted)
    assert leadership.waits_for() is None
    leadership.guard()
    assert json.loads((await probe(leadership, "/healthz"))[1])["leader"] is True
    assert (await probe(leadership, "/readyz"))[0] == 503, "it has listed no object yet"
    stop.set()
    await task
    assert (acted, reported, lease.released) == ([True], [0, 1, 0], 1)


async def test_an_operator_that_loses_the_lease_stops_with_an_error(until):
    lease, stop = Lease(), asyncio.Event()
    lease.granted.set()
    leadership = Leadership(lease, lambda _: None)
    with pytest.raises(NotLeaderError):
        async with asyncio.timeout(2), leadership.held(stop):
            lease.lost.set()
            await stop.wait()
    with pytest.raises(NotLeaderError):
        leadership.guard()


async def test_a_signal_stops_an_operator_that_waits():
    lease, stop = Lease(), asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    async with asyncio.timeout(2), Leadership(lease, lambda _: None).held(stop):
        assert stop.is_set()
    assert lease.released == 0


async def test_an_operator_without_a_lease_acts_at_once():
    reported = []
    leadership = Leadership(None, reported.append)
    async with leadership.held(asyncio.Event()):
        leadership.guard()
        assert (leadership.waits_for(), reported) == (None, [0, 1])
