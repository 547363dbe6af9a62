"""The memory of the operator is released when runs have ended."""

import gc

from fusionrun.handlers import memory
from fusionrun.handlers.memory import Memory


async def test_memory_is_released_once_when_several_runs_end_together(monkeypatch, until):
    monkeypatch.setattr(memory, "RELEASE_SECONDS", 0.01)
    released = []
    monkeypatch.setattr(Memory, "_trim", lambda _: released.append(gc.get_count()))
    process = Memory()
    for number in (1, 2):
        for _ in range(3):
            process.freed()
        await until(lambda number=number: len(released) == number)
