"""Run the official half of a comparison with another Python, which has the packages of the official code."""

import json
import subprocess


def run_official(python, script, given, *arguments):
    """Return what ``python script ARGUMENTS`` prints as its last line, JSON, for ``given`` on its standard input."""
    found = subprocess.run(
        [python, script, *arguments], input=json.dumps(given), stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])
