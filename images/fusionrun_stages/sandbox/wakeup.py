"""Let ``asyncio`` run in a confined process."""

import socket


def provide_wakeup_pairs() -> None:
    """Replace ``socket.socketpair``: an event loop makes a pair to wake itself, which the system call filter denies.

    Call it before ``confine``. Every loop gets copies of the two ends of one pair, which no other process has.
    """
    ends = socket.socketpair()
    socket.socketpair = lambda *_, **__: (ends[0].dup(), ends[1].dup())
