import asyncio
from collections.abc import Callable

import pytest

from fusionrun.state.observe.object_ref import run_ref


@pytest.fixture
def tiny():
    return run_ref("demo", "tiny")


async def until(holds: Callable[[], bool], seconds: float = 2.0) -> None:
    """Let the event loop work until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 -- what holds has no event to wait for
            await asyncio.sleep(0.001)


@pytest.fixture(name="until")
def until_fixture():
    return until
