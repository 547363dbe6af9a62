"""``python -m fusionrun`` runs the operator; ``python -m fusionrun COMMAND`` runs a command for users (``cli``)."""

import sys
from collections.abc import Sequence

from fusionrun.cli import main as cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator, or the command that the first argument names; return the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments and not arguments[0].startswith("-"):
        return cli.main(arguments)
    from fusionrun.handlers import start  # noqa: PLC0415 -- the commands need neither kopf nor the Kubernetes client

    return start.main(arguments, epilog=f"Commands for users: {', '.join(cli.COMMANDS)}.")


if __name__ == "__main__":
    sys.exit(main())
