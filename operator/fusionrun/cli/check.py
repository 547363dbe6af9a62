"""``check``: show what a cluster has, and what FusionRun needs of it. Needs kubectl, and no Python package."""

import argparse
import sys
from collections.abc import Sequence

from fusionrun.cli.checks import findings
from fusionrun.cli.checks.finding import Level
from fusionrun.cli.kubectl import Kubectl, KubectlError
from fusionrun.cli.tables import table

EPILOG = """\
Nothing is changed, and no Secret is read. `note` marks what some runs need or what may disturb them, and `MISSING`
what every run needs.

Exit status: 0 nothing is missing, 1 something is, 2 the cluster does not answer.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="kubectl fusionrun check",
        description="Show what a cluster has, and what FusionRun needs of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-n", "--namespace", default="default", help="namespace in which runs will be (default: default)"
    )
    parser.add_argument("--kubeconfig", default="")
    parser.add_argument("--context", default="")
    arguments = parser.parse_args(argv)
    kubectl = Kubectl(arguments.kubeconfig, arguments.context)
    try:
        kubectl.text("get", "--raw", "/readyz")
    except KubectlError as error:
        print(f"the cluster does not answer: {error}", file=sys.stderr)
        return 2
    found = findings(kubectl, arguments.namespace)
    rows = [[each.check, each.level.value, each.found, each.advice] for each in found]
    print(table(["CHECK", "", "FOUND", "WHAT TO DO"], rows))
    return 1 if any(each.level is Level.MISSING for each in found) else 0
