"""The process of one program: load the program, then serve calls until the channel closes or a limit is exceeded."""

import operator
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from types import ModuleType
from typing import Any, NoReturn

from fusionrun_stages.sandbox.confine import ResourceLimits, confine, end_with_parent
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wire import READY, FrameError, decode, encode, receive, send

MESSAGE_MAX_CHARACTERS = 300
REQUESTS: dict[str, Callable[..., Any]] = {
    "call": lambda function, /, *args, **kwargs: function(*args, **kwargs),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "len": len,
    "str": str,
    "repr": repr,
}
"""Operations that the tests may request on a function, a class or an object."""


def run(channel: socket, program: str, limits: ResourceLimits, folder: Path) -> NoReturn:
    """Confine this process, load the program and serve calls; never return.

    After the first line of the program has run, this process cannot be trusted, including this module: the test process
    reads only plain data from the channel.
    """
    code = 1
    try:
        end_with_parent()
        _drop_inherited_state(channel, folder)
        confine(limits, folder)
        send(channel, READY)  # from here on the program is responsible for the end of this process
        _serve(channel, program)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code & 0xFF)


def _drop_inherited_state(channel: socket, folder: Path) -> None:
    """Reset signal handlers, standard streams, descriptors and environment; enter the folder."""
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
    before = dict(module.__dict__)
    handles = _Handles()
    try:
        exec(compile(program, "solution.py", "exec"), module.__dict__)  # noqa: S102 (the purpose of the sandbox)
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        send(channel, _raised(error))
        return
    defined = {k: v for k, v in module.__dict__.items() if k not in before or before[k] is not v}
    send(channel, {"names": {k: encode(value, handles.add) for k, value in defined.items() if k[:1] != "_"}})
    with suppress(FrameError):
        while True:
            send(channel, _reply(receive(channel), handles))


class _Handles:
    """Objects that are not plain data, by number."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def add(self, value: Any) -> int:
        self._objects.append(value)
        return len(self._objects) - 1

    def get(self, number: int) -> Any:
        return self._objects[number]


def _reply(request: dict[str, Any], handles: _Handles) -> dict[str, Any]:
    try:
        args = [decode(data, handles.get) for data in request["args"]]
        kwargs = {name: decode(data, handles.get) for name, data in request["named"].items()}
        value = REQUESTS[request["do"]](handles.get(request["of"]), *args, **kwargs)
        reply = {"value": encode(value, handles.add)}
        if value is None:  # a function that works in place: return its arguments
            reply["args"] = [encode(value, handles.add) for value in args]
    except Exception as error:  # noqa: BLE001 (as above)
        return _raised(error)
    return reply


def _raised(error: Exception) -> dict[str, Any]:
    try:
        message = str(error)[:MESSAGE_MAX_CHARACTERS]
    except Exception:  # noqa: BLE001 (the text of an exception runs the program's code)
        message = ""
    return {"raised": type(error).__name__, "message": message}
