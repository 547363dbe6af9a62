"""The Lease of the operator, with the clocks of two operators and an API server in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from fusionrun.cluster import lease as lease_module
from fusionrun.cluster.lease import DURATION_SECONDS, RENEW_DEADLINE_SECONDS, Lease, holder_identity, lease_ref
from fusionrun.errors import ClusterError, NotLeaderError

REF = lease_ref("fusionrun-system", ())
START = datetime(2026, 1, 2, tzinfo=UTC)


class Clock:
    """The time of the cluster; ``ahead`` is the error of a node's wall clock in seconds."""

    def __init__(self):
        self.seconds = 0.0

    def lease(self, client, holder, ahead=0.0):
        return Lease(client, REF, holder, lambda: self.seconds, lambda: START + timedelta(seconds=self.seconds + ahead))


@pytest.fixture
def clock(monkeypatch):
    """Let a sleep move the clock."""
    found = Clock()

    async def sleep(seconds):
        found.seconds += seconds
        if found.seconds > 1000:
            raise AssertionError("waits for ever")

    monkeypatch.setattr(lease_module.asyncio, "sleep", sleep)
    return found


def spec(client):
    return client.objects[REF]["spec"]


async def test_the_second_operator_waits_and_says_for_whom(client, clock, caplog):
    first, second = clock.lease(client, "a"), clock.lease(client, "b")
    await first.acquire()
    for _ in range(30):
        clock.seconds += 2
        assert await first.try_once()
        assert not await second.try_once()
    assert (first.is_held, second.is_held, second.other) == (True, False, "a")
    assert spec(client)["holderIdentity"] == "a"
    assert spec(client)["leaseTransitions"] == 0
    with pytest.raises(AssertionError, match="waits for ever"):
        await keep_alive(clock, first, second.acquire())
    assert caplog.text.count("another operator, a, acts and holds Lease fusionrun-system/fusionrun-operator") == 1


async def keep_alive(clock, first, work):
    """Let the first operator renew the Lease whenever the second looks at it."""
    look = first._client.get

    async def get(ref):
        await first._write(first._client.replace, first._client.objects[ref], spec(first._client))
        return await look(ref)

    first._client.get = get
    await work


async def test_another_operator_takes_over_within_14_seconds_of_a_crash(client, clock):
    first, second = clock.lease(client, "a"), clock.lease(client, "b")
    await first.acquire()
    assert not await second.try_once()
    crashed = clock.seconds
    await second.acquire()
    assert DURATION_SECONDS <= clock.seconds - crashed <= 14
    assert spec(client)["holderIdentity"] == "b"
    assert spec(client)["leaseTransitions"] == 1
    assert not first.is_held, "it stops before another one acts"


async def test_a_holder_that_was_paused_does_not_write(client, clock):
    first = clock.lease(client, "a")
    await first.acquire()
    first.guard()
    clock.seconds += RENEW_DEADLINE_SECONDS
    with pytest.raises(NotLeaderError):
        first.guard()


async def test_a_container_that_restarts_in_the_same_pod_continues_at_once(client, clock):
    await clock.lease(client, "a").acquire()
    again = clock.lease(client, "a")
    assert await again.try_once()
    assert spec(client)["leaseTransitions"] == 0


async def test_a_released_lease_is_taken_at_once(client, clock):
    first, second = clock.lease(client, "a"), clock.lease(client, "b")
    await first.acquire()
    assert not await second.try_once()
    await first.release()
    assert not first.is_held
    assert await second.try_once()
    await first.release()
    assert spec(client)["holderIdentity"] == "b", "it releases only its own Lease"


@pytest.mark.parametrize(("age", "ahead", "taken"), [(45, 0, True), (30, 0, False), (0, 25, False), (0, -3600, False)])
async def test_a_stale_lease_is_taken_at_once_whatever_the_clocks_of_the_nodes(client, clock, age, ahead, taken):
    await clock.lease(client, "a").acquire()
    clock.seconds += age
    assert await clock.lease(client, "b", ahead).try_once() is taken


async def test_the_holder_keeps_the_lease_while_the_api_server_is_away_for_a_moment(client, clock):
    first = clock.lease(client, "a")
    await first.acquire()
    client.fail_on("get", "Lease", 503, "away")
    assert not await first.try_once()
    clock.seconds += 2
    assert first.is_held
    await first.keep()
    assert RENEW_DEADLINE_SECONDS <= clock.seconds <= DURATION_SECONDS
    assert not first.is_held


async def test_of_two_operators_that_write_at_the_same_time_one_wins(client, clock):
    first, second = clock.lease(client, "a"), clock.lease(client, "b")
    await first.acquire()
    await first.release()
    seen = client.objects[REF]
    assert await first.try_once()

    async def get(_):
        return seen

    client.get = get
    assert not await second.try_once()
    assert spec(client)["holderIdentity"] == "a"


async def test_a_first_operator_needs_no_lease_to_exist_and_two_do_not_both_create_it(client, clock):
    client.fail["create", "Lease"] = ClusterError("create", "Lease", REF.name, 409, "already exists")
    assert not await clock.lease(client, "a").try_once()


def test_operators_of_other_namespaces_have_another_lease():
    names = {lease_ref("ns", namespaces).name for namespaces in ((), ("a",), ("a", "b"), ("b", "a"))}
    assert len(names) == 3
    assert "fusionrun-operator" in names


def test_the_identity_is_that_of_the_pod(monkeypatch):
    assert holder_identity() != holder_identity(), "outside a pod"
    monkeypatch.setenv("POD_NAME", "fusionrun-1")
    monkeypatch.setenv("POD_UID", "u")
    assert holder_identity() == "fusionrun-1_u"
