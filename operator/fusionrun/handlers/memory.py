"""The memory of the operator: less work for the garbage collector, and free memory of the heap for the system."""

import asyncio
import ctypes
import gc
import logging

logger = logging.getLogger(__name__)

YOUNG_OBJECTS = 10_000
"""New objects before the garbage collector looks at them; Python's default is 700. A decision makes thousands, and
reference counts free almost all of them."""
RELEASE_SECONDS = 30.0
"""Time from the end or the deletion of a run until its memory is released: many runs may end one after the other."""


class Memory:
    """Releases memory when objects of runs have been freed."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def started(self) -> None:
        """Exempt what exists from the garbage collection: modules and classes, which live as long as the process."""
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        gc.collect()
        gc.freeze()
        self._trim()

    def freed(self) -> None:
        """Release memory soon: a run has finished or was deleted."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RELEASE_SECONDS, self._release)

    def _release(self) -> None:
        self._timer = None
        self._trim()  # without a collection: it visits all objects, at 0.2 microseconds each

    def _trim(self) -> None:
        """Return free memory to the system. glibc returns only the end of its heap by itself; other C libraries do."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
