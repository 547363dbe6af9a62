import asyncio

from fusionrun_stages.client.concurrency import ConcurrencyLimit, QueueLength


def limits(slots, *steps):
    """Return the limit after each step, with every slot taken."""

    async def go():
        found = []
        for step in steps:
            slots.in_flight = slots.limit
            await step(slots)
            found.append(slots.limit)
        return found

    return asyncio.run(go())


def adapt(running, waiting):
    return lambda slots: slots.adapt(QueueLength(running, waiting))


def test_more_while_nothing_waits_fewer_while_much_waits_none_changed_in_between():
    steps = [adapt(16, 0), adapt(18, 0), adapt(20, 3), adapt(20, 5), adapt(20, 6)]
    assert limits(ConcurrencyLimit(16, 64), *steps) == [18, 20, 20, 20, 18]


def test_the_limit_stays_within_its_bounds():
    assert limits(ConcurrencyLimit(4, 5), adapt(4, 0), adapt(4, 0), adapt(1, 9)) == [5, 5, 4]
    assert limits(ConcurrencyLimit(1, 5), adapt(1, 9)) == [1]
    assert ConcurrencyLimit(9, 5).limit == 5


def test_a_server_that_has_not_begun_tells_nothing():
    assert limits(ConcurrencyLimit(16, 64), adapt(0, 9)) == [16]


def test_slots_that_nobody_wants_are_not_added_to():
    async def go():
        slots = ConcurrencyLimit(16, 64)
        slots.in_flight = 15
        await slots.adapt(QueueLength(15, 0))
        return slots.limit

    assert asyncio.run(go()) == 16


def test_a_fixed_limit_never_moves():
    assert (
        limits(
            ConcurrencyLimit(8, 8),
            adapt(8, 0),
            adapt(8, 99),
            ConcurrencyLimit.on_overload,
            *[ConcurrencyLimit.on_reply] * 9,
        )
        == [8] * 12
    )


def test_one_more_for_a_round_of_answers_half_for_a_refusal():
    assert limits(ConcurrencyLimit(2, 64), *[ConcurrencyLimit.on_reply] * 5) == [2, 3, 3, 3, 4]
    assert limits(ConcurrencyLimit(16, 64), ConcurrencyLimit.on_overload, ConcurrencyLimit.on_overload) == [
        8,
        8,
    ]  # one overload refuses many


def test_never_more_are_under_way_than_the_limit_and_a_raised_one_is_used_at_once():
    async def go():
        slots, most = ConcurrencyLimit(2, 4), 0

        async def hold():
            nonlocal most
            async with slots.acquire():
                most = max(most, slots.in_flight)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(hold()) for _ in range(12)]
        await asyncio.sleep(0.005)
        assert slots.in_flight == 2
        await slots.adapt(QueueLength(2, 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slots.in_flight == 3
        await asyncio.gather(*tasks)
        return slots.in_flight, most

    assert asyncio.run(go()) == (0, 3)
