import asyncio
from collections.abc import Callable

import pytest

from fusionrun.state.observe.object_ref import run_ref
from support.async_tests import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def tiny():
    return run_ref("demo", "tiny")


async def until(holds: Callable[[], bool], seconds: float = 2.0) -> None:
    """Run the event loop until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 -- the tests wait for conditions without an event
            await asyncio.sleep(0.001)


@pytest.fixture(name="until")
def until_fixture():
    return until
