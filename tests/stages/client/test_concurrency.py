import asyncio

from fusionrun_stages.client.concurrency import QueueLength, ConcurrencyLimit


def limits(slots, *steps):
    """Return the limit after each step, with every slot taken."""

    async def go():
        found = []
        for step in steps:
            slots.busy = slots.limit
            await step(slots)
            found.append(slots.limit)
        return found

    return asyncio.run(go())


def adapt(running, waiting):
    return lambda slots: slots.adapt(QueueLength(running, waiting))


def test_more_while_nothing_waits_fewer_while_much_waits_none_changed_in_between():
    steps = [see(16, 0), see(18, 0), see(20, 3), see(20, 5), see(20, 6)]
    assert limits(ConcurrencyLimit(16, 64), *steps) == [18, 20, 20, 20, 18]


def test_the_limit_stays_within_its_bounds():
    assert limits(ConcurrencyLimit(4, 5), see(4, 0), see(4, 0), see(1, 9)) == [5, 5, 4]
    assert limits(ConcurrencyLimit(1, 5), see(1, 9)) == [1]
    assert ConcurrencyLimit(9, 5).limit == 5


def test_a_server_that_has_not_begun_tells_nothing():
    assert limits(ConcurrencyLimit(16, 64), see(0, 9)) == [16]


def test_slots_that_nobody_wants_are_not_added_to():
    async def go():
        slots = ConcurrencyLimit(16, 64)
        slots.busy = 15
        await slots.adapt(QueueLength(15, 0))
        return slots.limit

    assert asyncio.run(go()) == 16


def test_a_fixed_limit_never_moves():
    assert limits(ConcurrencyLimit(8, 8), see(8, 0), see(8, 99), ConcurrencyLimit.refused, *[ConcurrencyLimit.answered] * 9) == [8] * 12


def test_one_more_for_a_round_of_answers_half_for_a_refusal():
    assert limits(ConcurrencyLimit(2, 64), *[ConcurrencyLimit.answered] * 5) == [2, 3, 3, 3, 4]
    assert limits(ConcurrencyLimit(16, 64), ConcurrencyLimit.refused, ConcurrencyLimit.refused) == [8, 8]  # one overload refuses many


def test_never_more_are_under_way_than_the_limit_and_a_raised_one_is_used_at_once():
    async def go():
        slots, most = ConcurrencyLimit(2, 4), 0

        async def hold():
            nonlocal most
            async with slots.acquire():
                most = max(most, slots.busy)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(hold()) for _ in range(12)]
        await asyncio.sleep(0.005)
        assert slots.busy == 2
        await slots.adapt(QueueLength(2, 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slots.busy == 3
        await asyncio.gather(*tasks)
        return slots.busy, most

    assert asyncio.run(go()) == (0, 3)
