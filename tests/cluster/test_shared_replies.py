import asyncio

import pytest

from fusionrun.cluster import shared_replies
from fusionrun.cluster.shared_replies import SharedReplies
from support.async_tests import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


class Server:
    """Counts requests; a request ends when ``go`` is set."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.error: Exception | None = None
        self.go = asyncio.Event()

    async def reply(self, key: str) -> int:
        self.requests.append(key)
        await self.go.wait()
        if self.error:
            raise self.error
        return len(self.requests)


@pytest.fixture
def clock(monkeypatch):
    times = {"now": 100.0}
    monkeypatch.setattr(shared_replies.time, "monotonic", lambda: times["now"])
    return times


async def test_callers_share_a_request_in_flight_and_its_reply_for_a_time(clock):
    server = Server()
    replies = SharedReplies(server.reply, 10.0)
    both = asyncio.gather(replies.get("a"), replies.get("a"))
    await asyncio.sleep(0)
    clock["now"] += 60  # a slow request is still shared
    third = asyncio.create_task(replies.get("a"))
    await asyncio.sleep(0)
    server.go.set()
    assert [*await both, await third] == [1, 1, 1]
    assert await replies.get("b") == 2
    assert await replies.get("a") == 3, "the age of a reply counts from its request"
    clock["now"] += 9.9
    assert await replies.get("a") == 3
    clock["now"] += 0.1
    assert await replies.get("a") == 4
    assert server.requests == ["a", "b", "a", "a"]


async def test_an_error_reaches_all_who_wait_and_is_not_kept(clock):
    server = Server()
    server.error = ValueError("no")
    replies = SharedReplies(server.reply, 10.0)
    waiting = [asyncio.create_task(replies.get("a")) for _ in range(2)]
    await asyncio.sleep(0)
    server.go.set()
    assert [type(e) for e in await asyncio.gather(*waiting, return_exceptions=True)] == [ValueError] * 2
    server.error = None
    assert await replies.get("a") == 2


async def test_a_cancelled_caller_does_not_cancel_the_request_of_others(clock):
    server = Server()
    replies = SharedReplies(server.reply, 10.0)
    first, second = (asyncio.create_task(replies.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    server.go.set()
    assert await second == 1
