"""The errors of a stage program and their exit codes.

::

    StageError
    ├── UserError              the user must change something: exit 2, never tried again
    └── InfrastructureError    it may pass: exit 130, tried again up to the stage's limit
        └── ServerWedgedError  the server must be restarted first: exit 131

Anything else that a stage raises is taken for infrastructure (``classify``), with one line of the traceback.
"""

import errno
import re
import traceback
from typing import ClassVar

from fusionrun.api.task import EXIT_INFRASTRUCTURE, EXIT_SERVER_WEDGED, EXIT_USER_ERROR


class StageError(Exception):
    """A stage that cannot go on: the message is for people and ends up in the run's status."""

    exit_code: ClassVar[int] = EXIT_INFRASTRUCTURE

    @property
    def is_user_error(self) -> bool:
        """Whether trying again is of no use."""
        return self.exit_code == EXIT_USER_ERROR

    @property
    def is_server_wedged(self) -> bool:
        """Whether the operator must restart the server before the next try."""
        return self.exit_code == EXIT_SERVER_WEDGED


class UserError(StageError):
    """What the user gave is wrong: the message names the field or file, the value and the rule."""

    exit_code = EXIT_USER_ERROR


class InfrastructureError(StageError):
    """A server, a disk or a network failed: the same stage may succeed when it is tried again."""


class ServerWedgedError(InfrastructureError):
    """A server that is there but takes no token: only its restart helps."""

    exit_code = EXIT_SERVER_WEDGED


CANNOT_COMPILE = re.compile(
    r"Failed to find C compiler"  # Triton 3.7.1, runtime/build.py
    # Triton's and PyTorch's call of a compiler. One that a signal ended (out of memory) "died with" it instead.
    r"|Command '(\[')?(\S*[/-])?(cc|gcc|g\+\+|c\+\+|clang|clang\+\+)(-[\d.]+)?['\s].*returned non-zero exit status"
    r"|No working C\+\+ compiler found"  # PyTorch 2.13.0, torch/_inductor/exc.py
    r"|fatal error: \S+\.h(pp)?: No such file or directory",  # gcc, where the message holds its output
)
"""What libraries say when they cannot compile at run time."""


def classify(error: BaseException) -> StageError:
    """Turn whatever a stage raised into a StageError with a message that a person can act on."""
    if isinstance(error, StageError):
        return error
    if isinstance(error, MemoryError):
        return InfrastructureError("out of memory: Python could not allocate; raise the stage's memory limit")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" at {error.filename}" if error.filename else ""
        return InfrastructureError(f"no space left on the volume{where}: free some or enlarge the claim")
    last = traceback.format_exception_only(error)[-1].strip()
    # Without frames: the messages of this exception and of those that led to it.
    if CANNOT_COMPILE.search("".join(traceback.format_exception(error, limit=0))):
        return UserError(
            "the image cannot compile what its libraries compile at run time: that takes a C compiler, libc's headers "
            "and Python.h. Set the chart's images.train and images.reward to the CUDA flavour (images/README.md), then "
            f"apply the run again. The error was: {last}"
        )
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return InfrastructureError(f"{last}{at}")
