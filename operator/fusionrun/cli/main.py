"""Command line of the users: ``kubectl fusionrun COMMAND``, or ``python -m fusionrun COMMAND``.

Only the module of the command is imported: ``check`` needs nothing but Python and kubectl.
"""

import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "lint": "report every fault of FusionRun manifests, without a cluster",
    "plan": "show the stages of a FusionRun and what it needs",
    "check": "show what a cluster has, and what FusionRun needs of it",
}
"""The commands by name; each is a module of this package with a function ``main``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 if it found a fault, or 2 if it could not run."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] not in COMMANDS:
        help_wanted = arguments[:1] in (["-h"], ["--help"])
        print(_usage(arguments), file=sys.stdout if help_wanted else sys.stderr)
        return 0 if help_wanted else 2
    try:
        command = importlib.import_module(f"fusionrun.cli.{arguments[0]}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fusionrun"):
            raise
        print(f"{arguments[0]} needs the Python package {error.name}: pip install 'fusionrun[cli]'", file=sys.stderr)
        return 2
    try:
        status: int = command.main(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has ended. Source: Python's documentation of SIGPIPE (module signal): without the
        # redirection, the flush at exit fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _usage(arguments: Sequence[str]) -> str:
    unknown = [f"unknown command {arguments[0]!r}"] if arguments and not arguments[0].startswith("-") else []
    commands = [f"  {name:8}{text}" for name, text in COMMANDS.items()]
    return "\n".join([*unknown, "usage: kubectl fusionrun COMMAND [-h] ...", "", "commands:", *commands])
