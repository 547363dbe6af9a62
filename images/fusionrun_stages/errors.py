"""The errors of a stage and their exit codes.

::

    StageError
    ├── UserError               the user must change something: exit 2, not retried
    └── InfrastructureError     a retry may succeed: exit 130, retried up to the stage's limit
        └── ServerStalledError  the operator restarts the server before the retry: exit 131

``classify`` turns any other exception into an InfrastructureError with one line of the traceback.
"""

import errno
import re
import traceback
from typing import ClassVar

from fusionrun.api.pod import EXIT_INFRASTRUCTURE, EXIT_SERVER_WEDGED, EXIT_USER_ERROR


class StageError(Exception):
    """A stage failed. The message is for users and goes to the run's status."""

    exit_code: ClassVar[int] = EXIT_INFRASTRUCTURE


class UserError(StageError):
    """The user's input is wrong: the message names the field or file, the value and the rule."""

    exit_code = EXIT_USER_ERROR


class InfrastructureError(StageError):
    """A server, a disk or a network failed: a retry may succeed."""


class ServerStalledError(InfrastructureError):
    """A server is reachable and generates no tokens: the operator restarts it."""

    exit_code = EXIT_SERVER_WEDGED


CANNOT_COMPILE = re.compile(
    r"Failed to find C compiler"  # Triton 3.7.1, runtime/build.py
    # A compiler called by Triton or PyTorch. If a signal ended it (out of memory), the message is "died with".
    r"|Command '(\[')?(\S*[/-])?(cc|gcc|g\+\+|c\+\+|clang|clang\+\+)(-[\d.]+)?['\s].*returned non-zero exit status"
    r"|No working C\+\+ compiler found"  # PyTorch 2.13.0, torch/_inductor/exc.py
    r"|fatal error: \S+\.h(pp)?: No such file or directory",  # gcc, where the message holds its output
)
"""Messages of libraries that cannot compile at run time."""


MESSAGE_MAX_CHARACTERS = 100_000
LINE_MAX_CHARACTERS = 10_000
"""Longest parts of a message that are searched: an exception may quote a file or a reply."""

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that end a line, control a terminal, or change the direction of the text around them."""


def escape_controls(text: str) -> str:
    r"""Return the text in one line: control characters as escapes (``\n``).

    Messages and log lines quote data sets, replies and programs.
    """
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def classify(error: BaseException) -> StageError:
    """Convert any exception to a StageError whose message says what to do."""
    if isinstance(error, StageError):
        return error
    if isinstance(error, MemoryError):
        return InfrastructureError("out of memory: raise the stage's memory limit")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" at {error.filename}" if error.filename else ""
        return InfrastructureError(f"no space left on the volume{where}: delete files or enlarge the claim")
    last = traceback.format_exception_only(error)[-1].strip()
    if _cannot_compile(error):
        return UserError(
            "the image lacks a C compiler, libc's headers or Python.h, which its libraries need at run time. Set the "
            "chart's images.train and images.reward to the CUDA flavour (images/README.md), then apply the run again. "
            f"Error: {last}"
        )
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return InfrastructureError(f"{last}{at}")


def _cannot_compile(error: BaseException) -> bool:
    # The messages of this exception and of its causes, without frames.
    text = "".join(traceback.format_exception(error, limit=0))[-MESSAGE_MAX_CHARACTERS:]
    return any(CANNOT_COMPILE.search(line[:LINE_MAX_CHARACTERS]) for line in text.splitlines())
