"""Start the operator process: command line, logging, settings.

    python -m fusionrun --settings settings.yaml

In a cluster, the chart mounts the settings file from a ConfigMap at ``/etc/fusionrun/settings.yaml``.
"""

import argparse
import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import kopf

from fusionrun.errors import NotLeaderError, SpecError
from fusionrun.handlers import lifecycle
from fusionrun.settings_file import load_settings

SETTINGS_PATH = Path("/etc/fusionrun/settings.yaml")


def main(argv: Sequence[str], epilog: str = "") -> int:
    """Run the operator until SIGINT or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fusionrun", description="The FusionRun operator.", epilog=epilog)
    parser.add_argument("--settings", type=Path, default=SETTINGS_PATH, help="settings file (YAML)")
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
    parser.add_argument("--debug", action="store_true", help="also log the work of kopf")
    arguments = parser.parse_args(argv)
    kopf.configure(
        debug=arguments.debug,
        log_format=kopf.LogFormat.JSON if arguments.log_format == "json" else kopf.LogFormat.FULL,
    )
    try:
        settings = load_settings(arguments.settings)
    except SpecError as error:
        logging.getLogger("fusionrun").critical("invalid settings: %s", error)
        return 2
    try:
        asyncio.run(lifecycle.run(settings))
    except NotLeaderError as error:
        logging.getLogger("fusionrun").critical("stopped: %s", error)
        return 1
    return 0
