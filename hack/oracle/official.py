"""Run the official half of a comparison with another Python, which has the packages of the official code."""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def read_arguments(arguments, description, repository=None):
    """Read ``--python``, and ``--repo`` for a comparison that needs a checkout of a repository."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the Python with the packages of the official code")
    if repository:
        parser.add_argument("--repo", type=Path, required=True, help=f"a checkout of github.com/{repository}")
    return parser.parse_args(arguments)


def run_official(python, script, given, *arguments):
    """Return what ``python script ARGUMENTS`` prints as its last line, JSON, for ``given`` on its standard input."""
    found = subprocess.run(
        [python, script, *arguments], input=json.dumps(given), stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])
