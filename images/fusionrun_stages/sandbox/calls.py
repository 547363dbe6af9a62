"""In the program's process: do what the tests request, and report what a call did to its arguments."""

import errno
import operator
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from fusionrun_stages.sandbox.preamble import Classes
from fusionrun_stages.sandbox.script import run_with_input
from fusionrun_stages.sandbox.shared import Shared, is_same, snapshot
from fusionrun_stages.sandbox.values import NO_CLASSES, Decoder, Encoder
from fusionrun_stages.sandbox.wire import FrameError, send

MESSAGE_MAX_CHARACTERS = 300
REQUESTS: dict[str, Callable[..., Any]] = {
    "call": lambda function, /, *args, **kwargs: function(*args, **kwargs),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "len": len,
    "str": str,
    "repr": repr,
    "input": run_with_input,
}
"""Operations that the tests may request on a function, a class or an object."""
MODULE = 0
"""Handle of the program's module."""


class Server:
    """The objects that are not plain data, by number, and the answers to requests."""

    def __init__(self, module: ModuleType, classes: Classes = NO_CLASSES) -> None:
        self._objects: list[Any] = [module]
        self._classes = classes
        self._numbers = {id(module): MODULE}

    def offer(self, value: Any) -> Any:
        """Return the handle of a function or class; None for a variable, which may change."""
        return ["handle", self._add(value)] if isinstance(value, type | FunctionType | BuiltinFunctionType) else None

    def answer(self, channel: socket, request: dict[str, Any]) -> None:
        """Do a request and send the result."""
        try:
            send(channel, self._answer(request))
        except (FrameError, RecursionError) as error:
            send(channel, {"unsent": f"{type(error).__name__}: {error}"[:MESSAGE_MAX_CHARACTERS]})

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        shared = Shared()
        decoder = Decoder(self._objects.__getitem__, shared, self._classes)
        args = [decoder.decode(data) for data in request["args"]]
        kwargs = {name: decoder.decode(data) for name, data in request["named"].items()}
        given = len(shared.items)
        references = [sys.getrefcount(shared.items[i]) for i in range(given)]
        before = [snapshot(container) for container in shared.items]
        target, reply = self._objects[request["of"]], {}
        encoder = Encoder(self._add, shared, classes=self._classes)
        try:
            with limited(request.get("cpu_seconds")):
                value = REQUESTS[request["do"]](target, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 (the program may raise anything)
            reply = describe_error(error)
        else:
            try:
                reply["value"] = encoder.encode(value)
            except (FrameError, RecursionError):
                raise
            except Exception as error:  # noqa: BLE001 (an iterator runs the program's code)
                reply = describe_error(error) | {"early": True}
        changed = [i for i in range(given) if not is_same(before[i], shared.items[i])]
        if changed:
            reply["changed"] = [[i, encoder.content(shared.items[i])] for i in changed]
        before.clear()
        if any(
            # A new container has the references of the list, of getrefcount's argument, and of its owners in the reply.
            sys.getrefcount(shared.items[i]) > (references[i] if i < given else 2) + shared.appearances[i]
            for i in range(len(shared.items))
        ):
            reply["kept"] = True
        return reply

    def _add(self, value: Any) -> int:
        """Return the number of an object; the list keeps it, so its identity is not used again."""
        if (number := self._numbers.get(id(value))) is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return number


@contextmanager
def limited(cpu_seconds: float | None) -> Iterator[None]:
    """Let the kernel end this process if the block uses more CPU time, whatever the program catches.

    CPU time, since other processes may use the CPUs meanwhile. A program can lift the limit; that of the whole process
    and the wall time remain.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds or 0.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def describe_error(error: Exception) -> dict[str, Any]:
    """Return the message for an exception of the program."""
    try:
        message = str(error)[:MESSAGE_MAX_CHARACTERS]
    except Exception:  # noqa: BLE001 (the text of an exception runs the program's code)
        message = ""
    reply: dict[str, Any] = {"raised": type(error).__name__, "message": message}
    try:
        reply["arguments"] = [Encoder(_refuse).encode(value) for value in error.args]
    except Exception:  # noqa: BLE001 (as above; the exception is then raised with its text)
        reply.pop("arguments", None)
    if type(error) is ModuleNotFoundError and error.name:
        reply["module"] = error.name
    if _is_shortage(error):
        reply["shortage"] = True
    if isinstance(error, PermissionError):
        reply["denied"] = True
    return reply


def _refuse(value: Any) -> int:
    raise FrameError(f"a {type(value).__name__}")


def _is_shortage(error: Exception) -> bool:
    """Return whether the system refused a thread or another resource, which other programs may have caused."""
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    at = trace.tb_frame.f_code.co_filename if trace else ""
    return type(error) is RuntimeError and at == threading.__file__ and "can't start new thread" in str(error)
