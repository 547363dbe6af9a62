"""The process of one program: load the program, then serve calls until the channel closes or a limit is exceeded."""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from fusionrun_stages.sandbox import mainprogram, together
from fusionrun_stages.sandbox.calls import Server, describe_error, limited
from fusionrun_stages.sandbox.confine import ResourceLimits, confine, end_with_parent
from fusionrun_stages.sandbox.preamble import Classes, read_preamble
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.wakeup import provide_wakeup_pairs
from fusionrun_stages.sandbox.wire import READY, REQUEST_MAX_BYTES, FrameError, receive, send


def run(channel: socket.socket, limits: ResourceLimits, folder: Path, *, wakeup: bool) -> NoReturn:
    """Confine this process, then receive a program, run it and serve calls; never return.

    The program comes through the channel, so that the runner never has it in its memory, which the next candidate
    inherits. After the first line of the program has run, this process cannot be trusted, including this module: the
    test process reads only plain data from the channel.
    """
    code = 1
    try:
        end_with_parent()
        _drop_inherited_state(channel, folder)
        if wakeup:
            provide_wakeup_pairs()
        confine(limits, folder)
        send(channel, READY)  # from here on the program is responsible for the end of this process
        _serve(channel, receive(channel, REQUEST_MAX_BYTES))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code & 0xFF)


def _drop_inherited_state(channel: socket.socket, folder: Path) -> None:
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
    sys.argv = ["solution.py"]  # fileinput and argparse read it
    os.chdir(folder)


def _serve(channel: socket.socket, request: dict[str, Any]) -> None:
    """Do what the first request asks for: serve calls, run a main program, or run program and tests together."""
    code, module, preamble = request["program"], ModuleType("solution"), read_preamble(request["preamble"])
    if "stdin" in request:
        send(channel, mainprogram.run(code, request["stdin"], preamble))
        return
    if "tests" in request:
        send(channel, together.run(code, request["tests"], request["entry_point"], preamble))
        return
    sys.modules["solution"] = module  # pickle and dataclasses look up the module of a class
    if not request.get("bare"):
        module.__dict__.update(build_prelude())
    if failed := preamble.run_for_program(module.__dict__):
        send(channel, failed)
        return
    before = dict(module.__dict__)
    try:
        with limited(request.get("cpu_seconds")):
            exec(compile(code, "solution.py", "exec", dont_inherit=True, optimize=0), module.__dict__)  # noqa: S102
    except Exception as error:  # noqa: BLE001 (the program may raise anything)
        send(channel, describe_error(error))
        return
    server = Server(module, Classes(preamble, module.__dict__))
    defined = {k: v for k, v in module.__dict__.items() if k not in before or before[k] is not v}
    wanted = request.get("only") or [name for name in defined if name[:1] != "_"]
    send(channel, {"names": {name: server.offer(defined[name]) for name in wanted if name in defined}})
    with suppress(FrameError):
        while True:
            server.answer(channel, receive(channel, REQUEST_MAX_BYTES))
