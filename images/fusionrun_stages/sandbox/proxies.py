"""Proxies for the program's functions, classes and objects: calls run in another process, results are plain data."""

import builtins
from collections.abc import Callable
from socket import socket
from typing import Any

from fusionrun_stages.sandbox import wire

EXPECTED: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NameError,
    RuntimeError,
    AssertionError,
    OSError,
)
"""Exceptions of the program that are raised in the tests. Not StopIteration: it would end a test's loop."""


class ProgramGoneError(BaseException):
    """The program's process has ended. Not an Exception, so that a test cannot catch it as an expected one."""


class NotPlainError(BaseException):
    """A value that cannot be sent or compared as plain data: the result of the test is unknown."""


class ProgramError(Exception):
    """An exception of a class that the program defines."""


class RemoteProgram:
    """A connection to a loaded program."""

    def __init__(self, channel: socket) -> None:
        self._channel = channel
        self.calls = 0
        self.started = False
        """Whether the program's first line was reached: the program is not responsible for an earlier end."""
        self.gone: str | None = None
        """Why the process has ended."""
        self.not_plain: str | None = None
        """The value that could not be sent or compared."""

    def names(self) -> dict[str, Any]:
        """Wait for the program to load and return the names that it defines.

        ``candidate`` never sends a name with a leading underscore, so such a message is forged: ``__builtins__`` would
        replace the tests' ``abs``.

        If the program raised an exception while it was loaded, raise that exception.
        """
        self.started = self._receive() == wire.READY
        if not self.started:
            raise self._ended("it was not started")
        reply = self._receive()
        self._raise(reply)
        names = reply.get("names")
        if not isinstance(names, dict) or any(name.startswith("_") for name in names):
            raise self._ended("its reply is not valid")
        return {name: self._decode(value) for name, value in names.items()}

    def request(self, operation: str, number: int, /, *args: Any, **kwargs: Any) -> Any:
        """Request an operation on the object with this number; return its result: plain data or a proxy."""
        try:
            encoded = [wire.encode(value, self._number) for value in args]
            named = {name: wire.encode(value, self._number) for name, value in kwargs.items()}
            wire.send(self._channel, {"do": operation, "of": number, "args": encoded, "named": named})
        except (wire.FrameError, RecursionError) as error:
            raise self.not_plain_error(f"an argument cannot be sent: {error}") from None
        except OSError:
            raise self._ended("its process ended") from None
        reply = self._receive()
        self._raise(reply)
        if reply.get("args"):
            _write_back(args, [self._decode(value) for value in reply["args"]])
        if "value" not in reply:
            raise self._ended("its reply is not valid")
        return self._decode(reply["value"])

    def _receive(self) -> dict[str, Any]:
        try:
            reply = wire.receive(self._channel)
        except wire.EndOfStreamError:
            raise self._ended("its process ended") from None
        except (wire.FrameError, OSError) as error:
            raise self._ended(f"its reply cannot be read: {error}") from None
        if not isinstance(reply, dict) or not reply.keys() & {"ready", "value", "names", "raised"}:
            raise self._ended("its reply is not valid")
        return reply

    def _decode(self, data: Any) -> Any:
        try:
            return wire.decode(data, lambda number: RemoteObject(self, int(number)))
        except wire.FrameError as error:
            raise self.not_plain_error(str(error)) from None

    def _number(self, value: Any) -> int:
        if type(value) is RemoteObject:
            return _number(value)
        raise self.not_plain_error(f"a {type(value).__name__} cannot be sent to the program")

    def _raise(self, reply: dict[str, Any]) -> None:
        if "raised" in reply:
            name, message = str(reply["raised"]), str(reply.get("message", ""))
            error = getattr(builtins, name, None)
            if isinstance(error, type) and issubclass(error, EXPECTED) and not issubclass(error, UnicodeError):
                raise error(message)
            raise ProgramError(f"{name}: {message}")

    def _ended(self, reason: str) -> ProgramGoneError:
        self.gone = reason
        return ProgramGoneError(reason)

    def not_plain_error(self, reason: str) -> NotPlainError:
        """Record and return the error for a value that is not plain data."""
        self.not_plain = reason
        return NotPlainError(reason)


def _write_back(args: tuple[Any, ...], after: list[Any]) -> None:
    """Update lists, dictionaries and sets to their content after the call."""
    for argument, content in zip(args, after, strict=False):
        if type(argument) is type(content) is list:
            argument[:] = content
        elif (type(argument) is type(content) is dict) or (type(argument) is type(content) is set):
            argument.clear()
            argument.update(content)


class RemoteObject:
    """A proxy for a function, class or object in the program's process.

    Tests can call it and read its attributes, items, length and text. Equality, order, truth and arithmetic are not
    supported: the program's code would decide whether its result is right.
    """

    __slots__ = ("_number", "_program")

    def __init__(self, program: RemoteProgram, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function or class, and count the call."""
        program = _program(self)
        program.calls += 1
        return program.request("call", _number(self), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _program(self).request("get", _number(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        _program(self).request("set", _number(self), name, value)

    def __getitem__(self, key: Any) -> Any:
        return _program(self).request("item", _number(self), key)

    def __len__(self) -> int:
        return int(_program(self).request("len", _number(self)))

    def __str__(self) -> str:
        return str(_program(self).request("str", _number(self)))

    def __repr__(self) -> str:
        return str(_program(self).request("repr", _number(self)))


def _program(remote: RemoteObject) -> RemoteProgram:
    program: RemoteProgram = object.__getattribute__(remote, "_program")
    return program


def _number(remote: RemoteObject) -> int:
    number: int = object.__getattribute__(remote, "_number")
    return number


def _unsupported(name: str) -> Callable[..., Any]:
    def raise_error(self: RemoteObject, *_: Any) -> Any:
        raise _program(self).not_plain_error(f"a test uses {name} on an object of the program")

    return raise_error


for _name in (
    "eq", "ne", "lt", "le", "gt", "ge", "bool", "hash", "iter", "next", "contains", "add", "radd", "sub", "rsub", "mul",
    "rmul", "truediv", "floordiv", "mod", "neg", "abs", "int", "float", "index", "enter", "exit",
):  # fmt: skip
    setattr(RemoteObject, f"__{_name}__", _unsupported(f"__{_name}__"))
