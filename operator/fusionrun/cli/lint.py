"""``lint FILE...``: report every fault of FusionRun manifests, without a cluster."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fusionrun.cli.documents import STDIN, Document, UnreadableError, read
from fusionrun.cli.faults import DEFAULT_SETTINGS, faults, is_run, warnings_of
from fusionrun.errors import SpecError
from fusionrun.plan.spec_warnings import MAX_COST
from fusionrun.settings import Settings
from fusionrun.settings_file import read_settings

EPILOG = """\
Each fault is one line: FILE:LINE: FIELD: VALUE: RULE. Found are the faults that the API server would find, and those
that the operator would find when it accepts the run. A run without faults may have warnings on the standard error, such
as FILE:LINE: warning: FIELD: VALUE: RULE, which do not change the exit status. What a run needs of the cluster, of hubs
and of its claim is not checked: see the command `plan`, and docs/preflight.md.

Exit status: 0 no fault, 1 faults, 2 a file cannot be read or is not YAML.
"""
UNKNOWN_PRICES = "; the prices of your operator are known only with --settings"


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="kubectl fusionrun lint",
        description="Report every fault of the FusionRuns in YAML files. Other objects are skipped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=f"file; {STDIN} for the standard input")
    add_settings(parser)
    arguments = parser.parse_args(argv)
    try:
        settings = settings_of(arguments)
        documents = [document for file in arguments.files for document in read(file)]
    except (UnreadableError, SpecError) as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if sum(_report(document, settings) for document in documents) else 0


def _report(document: Document, settings: Settings) -> int:
    """Print the faults of an object; return their number."""
    place = f"{document.file}:{document.line()}"
    title = f"{document.kind or 'an object without kind'} {document.name}".rstrip()
    if not is_run(document):
        print(f"{place}: {title}: skipped, since it is no FusionRun", file=sys.stderr)
        return 0
    found = print_faults(document, settings)
    if not found:
        print(f"{place}: {title}: no fault")
    return found


def print_faults(document: Document, settings: Settings) -> int:
    """Print the faults of a FusionRun, or the warnings if it has none; return the number of faults."""
    found = faults(document, settings)
    for fault in found:
        value = f"{fault.value}: " if fault.value else ""
        print(f"{document.file}:{fault.line}: {fault.field}: {value}{fault.rule}")
    for warning in [] if found else warnings_of(document, settings):
        hint = UNKNOWN_PRICES if warning.field == f"spec.{MAX_COST}" and settings is DEFAULT_SETTINGS else ""
        text = f"{warning.field}: {warning.value}: {warning.rule}{hint}"
        print(f"{document.file}:{warning.line}: warning: {text}", file=sys.stderr)
    return len(found)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option for the settings of an operator."""
    parser.add_argument(
        "--settings",
        type=Path,
        help="settings.yaml of the operator, whose policy is checked and whose prices are used; "
        "without it, the defaults of the chart",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the options name.

    Raises
    ------
    SpecError
        If the file cannot be read, or has an invalid field.
    """
    return read_settings(arguments.settings) if arguments.settings else DEFAULT_SETTINGS
