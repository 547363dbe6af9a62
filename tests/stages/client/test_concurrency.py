"""The limit of requests in flight."""

import asyncio

from fusionrun_stages.client.concurrency import ConcurrencyLimit, QueueLength


def limits(concurrency, *steps):
    """Return the limit after each step, with the limit reached before each."""

    async def go():
        found = []
        for step in steps:
            concurrency.in_flight = concurrency.limit
            await step(concurrency)
            found.append(concurrency.limit)
        return found

    return asyncio.run(go())


def adapt(running, waiting):
    return lambda concurrency: concurrency.adapt(QueueLength(running, waiting))


def test_the_limit_grows_without_a_queue_and_shrinks_with_a_long_one():
    steps = [adapt(16, 0), adapt(18, 0), adapt(20, 3), adapt(20, 5), adapt(20, 6)]
    assert limits(ConcurrencyLimit(16, 64), *steps) == [18, 20, 20, 20, 18]


def test_the_limit_stays_within_its_bounds():
    assert limits(ConcurrencyLimit(4, 5), adapt(4, 0), adapt(4, 0), adapt(1, 9)) == [5, 5, 4]
    assert limits(ConcurrencyLimit(1, 5), adapt(1, 9)) == [1]
    assert ConcurrencyLimit(9, 5).limit == 5


def test_a_queue_without_running_sequences_changes_nothing():
    assert limits(ConcurrencyLimit(16, 64), adapt(0, 9)) == [16]


def test_an_unused_limit_does_not_grow():
    concurrency = ConcurrencyLimit(16, 64)
    concurrency.in_flight = 15
    asyncio.run(concurrency.adapt(QueueLength(15, 0)))
    assert concurrency.limit == 16


def test_a_fixed_limit_does_not_change():
    steps = [adapt(8, 0), adapt(8, 99), ConcurrencyLimit.on_overload, *[ConcurrencyLimit.on_reply] * 9]
    assert limits(ConcurrencyLimit(8, 8), *steps) == [8] * 12


def test_the_limit_grows_by_one_per_round_and_halves_after_an_overload():
    assert limits(ConcurrencyLimit(2, 64), *[ConcurrencyLimit.on_reply] * 5) == [2, 3, 3, 3, 4]
    overloads = [ConcurrencyLimit.on_overload] * 2
    assert limits(ConcurrencyLimit(16, 64), *overloads) == [8, 8], "at most one halving per ADAPT_SECONDS"


def test_in_flight_requests_stay_within_a_limit_that_may_grow():
    async def go():
        concurrency, most = ConcurrencyLimit(2, 4), 0

        async def hold():
            nonlocal most
            async with concurrency.acquire():
                most = max(most, concurrency.in_flight)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(hold()) for _ in range(12)]
        await asyncio.sleep(0.005)
        assert concurrency.in_flight == 2
        await concurrency.adapt(QueueLength(2, 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert concurrency.in_flight == 3
        await asyncio.gather(*tasks)
        return concurrency.in_flight, most

    assert asyncio.run(go()) == (0, 3)
