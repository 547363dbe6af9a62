"""The process that holds one program: load it, then answer calls until the channel closes or a limit ends it."""

import operator
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from types import ModuleType
from typing import Any, NoReturn

from fusionrun_stages.sandbox.confine import Limits, confine, end_with_parent
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wire import READY, FrameError, decode, encode, receive, send

MESSAGE_MAX_CHARACTERS = 300
REQUESTS: dict[str, Callable[..., Any]] = {
    "call": lambda thing, *args, **named: thing(*args, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "len": len,
    "str": str,
    "repr": repr,
}
"""What the tests may ask of a function, a class or an object."""


def run(channel: socket, program: str, limits: Limits, folder: Path) -> NoReturn:
    """Confine this process, load the program and serve calls; never returns.

    Nothing that happens after the first line of the program can be trusted, this module's own functions included:
    the other side takes plain data from the channel, and nothing else.
    """
    code = 1
    try:
        end_with_parent()
        _leave_everything(channel, folder)
        confine(limits, folder)
        send(channel, READY)  # whatever ends it from here on is the program's own doing
        _serve(channel, program)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code & 0xFF)


def _leave_everything(channel: socket, folder: Path) -> None:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    kept = channel.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.chdir(folder)


def _serve(channel: socket, program: str) -> None:
    module = ModuleType("solution")
    module.__dict__.update(build_prelude())
    given = set(module.__dict__)
    before = dict(module.__dict__)
    things = _Things()
    try:
        exec(compile(program, "solution.py", "exec"), module.__dict__)  # noqa: S102 (what all of this is for)
    except Exception as error:  # noqa: BLE001 (whatever it raises is its answer)
        send(channel, _raised(error))
        return
    own = {k: v for k, v in module.__dict__.items() if k not in given or before[k] is not v}
    send(channel, {"names": {name: encode(value, things.number) for name, value in own.items() if name[:1] != "_"}})
    with suppress(FrameError):
        while True:
            send(channel, _answer(receive(channel), things))


class _Things:
    """What is no plain data, by its number."""

    def __init__(self) -> None:
        self._things: list[Any] = []

    def number(self, thing: Any) -> int:
        self._things.append(thing)
        return len(self._things) - 1

    def get(self, number: int) -> Any:
        return self._things[number]


def _answer(request: dict[str, Any], things: _Things) -> dict[str, Any]:
    try:
        args = [decode(one, things.get) for one in request["args"]]
        named = {name: decode(one, things.get) for name, one in request["named"].items()}
        value = REQUESTS[request["do"]](things.get(request["of"]), *args, **named)
        reply = {"value": encode(value, things.number)}
        if value is None:  # a function that works in place: its arguments are its answer
            reply["args"] = [encode(one, things.number) for one in args]
    except Exception as error:  # noqa: BLE001 (as above)
        return _raised(error)
    return reply


def _raised(error: Exception) -> dict[str, Any]:
    try:
        message = str(error)[:MESSAGE_MAX_CHARACTERS]
    except Exception:  # noqa: BLE001 (an exception may be hostile, too)
        message = ""
    return {"raised": type(error).__name__, "message": message}
