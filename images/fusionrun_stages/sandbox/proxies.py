"""Proxies for the program's functions, classes and objects: calls run in another process, results are plain data."""

import builtins
import re
from collections.abc import Callable
from socket import socket
from typing import Any

from fusionrun_stages.sandbox import wire
from fusionrun_stages.sandbox.calls import MODULE
from fusionrun_stages.sandbox.shared import Shared
from fusionrun_stages.sandbox.values import NO_CLASSES, Decoder, Encoder

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
REPLIES = ("ready", "value", "names", "raised", "unsent", "stdout", "together")
_MODULE_NAME = re.compile(r"[A-Za-z_][\w.]{0,99}")


class ProgramGoneError(BaseException):
    """The program's process has ended. Not an Exception, so that a test cannot catch it as an expected one."""


class NotPlainError(BaseException):
    """A value that cannot be sent or compared as plain data: the result of the test is unknown."""


class ProgramError(Exception):
    """An exception of a class that the tests do not get: of the program, of a library, or one not in ``EXPECTED``."""


class RemoteProgram:
    """A connection to a program's process, and what its calls exchanged that a proxy may show differently.

    ``writes_back``: whether the tests see what the program changes in its arguments.
    """

    def __init__(self, channel: socket, *, writes_back: bool = True) -> None:
        self._channel = channel
        self._writes_back = writes_back
        self._objects: dict[int, RemoteObject] = {}
        self.classes = NO_CLASSES
        """Classes of the preamble; set them before the first call."""
        self.calls = 0
        self.started = False
        """Whether the program was sent: it is not responsible for an earlier end."""
        self.call_cpu_seconds: float | None = None
        """CPU time of each further request; the kernel ends a program that uses more."""
        self.late = False
        """Whether a reply did not come in time, if the channel has a time limit."""
        self.gone: str | None = None
        """Why the process has ended."""
        self.not_plain: str | None = None
        """The value that could not be sent or compared."""
        self.missing: str | None = None
        """A module that the program imports and the image does not have."""
        self.denied: str | None = None
        """The error of a call that the sandbox may have denied. Without the sandbox, it might have succeeded."""
        self.shortage: str | None = None
        """Message of the system that refused a resource."""
        self.raised: Exception | None = None
        """The last exception of the program."""
        self.changed = False
        """Whether a call changed an argument."""
        self.inexact = False
        """Whether a value had another class, an iterator was read early, or the program kept a container that the tests
        have, too. A test could pass here and fail in one process."""
        self.special = False
        """Whether something was exchanged with which a test could fail here and pass in one process."""

    def load(self, program: str, preamble: str = "", **options: Any) -> dict[str, Any]:
        """Send the program, wait until it has loaded and return the names that it defines.

        Each is a proxy for a function or class, or None for a variable.
        ``candidate`` never sends a name with a leading underscore, so such a message is forged: ``__builtins__`` would
        replace the tests' ``abs``.

        ``options``: ``bare`` (without the names of the prelude), ``only`` (the names that are returned) and
        ``cpu_seconds``. If the program raised an exception while it was loaded, raise that exception.
        """
        names = self.ask({"program": program, "preamble": preamble, **options}).get("names")
        only = options.get("only")
        if not isinstance(names, dict) or any(name not in only if only else name[:1] == "_" for name in names):
            raise self._ended("its reply is not valid")
        return {name: self._decoder().decode(value) for name, value in names.items()}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send the first request (see ``candidate``) and return its reply; raise the program's exception, if any."""
        self._send(request)  # the candidate reads it when it is confined
        self.started = self._receive() == wire.READY
        if not self.started:
            raise self._ended("it was not started")
        reply = self._receive()
        self._raise(reply)
        return reply

    def request(self, operation: str, number: int, /, *args: Any, **kwargs: Any) -> Any:
        """Request an operation on the object with this number; return its result: plain data or a proxy."""
        self.special |= self.raised is not None  # the tests have caught it
        encoder = Encoder(self._number, opaque=RemoteObject, classes=self.classes)
        try:
            encoded = [encoder.encode(value) for value in args]
            named = {name: encoder.encode(value) for name, value in kwargs.items()}
        except RecursionError as error:
            raise self.not_plain_error(f"an argument cannot be sent: {error}") from None
        limit = {} if self.call_cpu_seconds is None else {"cpu_seconds": self.call_cpu_seconds}
        self._send({"do": operation, "of": number, "args": encoded, "named": named, **limit})
        reply = self._receive()
        return self._result(reply, encoder.shared if self._writes_back else self._copy([*encoded, *named.values()]))

    def _copy(self, encoded: list[Any]) -> Shared:
        """Return copies of the containers in the arguments, which the reply may change without effect on the tests."""
        decoder = self._decoder()
        for data in encoded:
            decoder.decode(data)
        return decoder.shared

    def variable(self, name: str) -> Any:
        """Return the present value of a variable of the program's module."""
        self.special = True  # the tests may change it
        return self.request("get", MODULE, name)

    def run_with_input(self, function: "RemoteObject", text: str) -> Any:
        """Call a function that reads a standard input; return its standard output (see ``script``)."""
        self.calls += 1
        return self.request("input", _number(function), text)

    def _result(self, reply: dict[str, Any], shared: Shared) -> Any:
        decoder = self._decoder(shared)
        try:
            value = decoder.decode(reply.get("value"))
            changed = reply.get("changed") or []
            for number, content in changed:
                decoder.update(shared.get(number), content)
        except (wire.FrameError, ValueError, TypeError) as error:
            raise self.not_plain_error(str(error)) from None
        self.changed |= bool(changed)
        # An iterator that raises does so early: the tests would get the exception with one of its items.
        self.inexact |= decoder.loose or bool(reply.get("kept")) or bool(reply.get("early"))
        self.special |= self.inexact or decoder.unordered or bool(changed)
        self._raise(reply)
        if "value" not in reply:
            raise self._ended("its reply is not valid")
        return value

    def _decoder(self, shared: Shared | None = None) -> Decoder:
        return Decoder(self._object, shared, self.classes)

    def _object(self, number: Any) -> "RemoteObject":
        """Return the only proxy of an object, so that ``is`` compares the objects."""
        if type(number) is not int:
            raise wire.FrameError(f"no object {number!r}")
        return self._objects.setdefault(number, RemoteObject(self, number))

    def _send(self, message: dict[str, Any]) -> None:
        try:
            wire.send(self._channel, message, wire.REQUEST_MAX_BYTES)
        except wire.FrameError as error:
            raise self.not_plain_error(f"an argument cannot be sent: {error}") from None
        except TimeoutError:
            raise self._late() from None
        except OSError:
            raise self._ended("its process ended") from None

    def _receive(self) -> dict[str, Any]:
        try:
            reply = wire.receive(self._channel)
        except wire.EndOfStreamError:
            raise self._ended("its process ended") from None
        except TimeoutError:
            raise self._late() from None
        except (wire.FrameError, OSError) as error:
            raise self._ended(f"its reply cannot be read: {error}") from None
        if not isinstance(reply, dict) or not reply.keys() & set(REPLIES):
            raise self._ended("its reply is not valid")
        if "unsent" in reply:
            raise self.not_plain_error(f"a result cannot be sent: {str(reply['unsent'])[:200]}")
        return reply

    def _number(self, value: Any) -> int:
        if type(value) is RemoteObject:
            return _number(value)
        raise self.not_plain_error(f"a {type(value).__name__} cannot be sent to the program")

    def _raise(self, reply: dict[str, Any]) -> None:
        if "raised" not in reply:
            return
        name, message = str(reply["raised"]), str(reply.get("message", ""))
        if _MODULE_NAME.fullmatch(str(reply.get("module", ""))):
            self.missing = reply["module"].partition(".")[0]
        if reply.get("shortage"):
            self.shortage = f"{name}: {message}"
        if reply.get("denied"):
            self.denied = f"{name}: {message}"
        self.raised = self._make_error(name, message, reply.get("arguments"))
        raise self.raised

    def _make_error(self, name: str, message: str, arguments: Any) -> Exception:
        kind = getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, EXPECTED)):
            self.special |= kind is not MemoryError  # a test may catch its class or a base of it
            return ProgramError(f"{name}: {message}")
        try:
            error: Exception = kind(*map(self._decoder().decode, arguments))
        except (wire.FrameError, TypeError, ValueError):  # no arguments, or not those of its class
            self.special = True
            return ProgramError(f"{name}: {message}") if issubclass(kind, UnicodeError) else kind(message)
        return error

    def _ended(self, reason: str) -> ProgramGoneError:
        self.gone = reason
        return ProgramGoneError(reason)

    def _late(self) -> ProgramGoneError:
        self.late = True
        return self._ended(f"no reply after {self._channel.gettimeout():.0f} s")

    def not_plain_error(self, reason: str) -> NotPlainError:
        """Record and return the error for a value that is not plain data."""
        self.not_plain = reason
        return NotPlainError(reason)


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
