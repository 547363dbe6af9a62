"""Command line of the operator.

    python -m fusionrun --settings settings.yaml

In a cluster, the chart mounts the settings file from a ConfigMap at ``/etc/fusionrun/settings.yaml``.
"""

import argparse
import asyncio
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import kopf
import yaml
from pydantic import TypeAdapter, ValidationError

from fusionrun.errors import NotLeaderError, SpecError
from fusionrun.handlers import lifecycle
from fusionrun.plan.pod_checks import check_defaults
from fusionrun.settings import Settings

SETTINGS_PATH = Path("/etc/fusionrun/settings.yaml")
SERVER_KEY_MIN_BYTES = 32
"""Length of a SHA-256, the hash of the HMAC. Source: RFC 2104, section 3."""


def load_settings(path: Path) -> Settings:
    """Read the settings file, and the key of the model servers.

    Raises
    ------
    SpecError
        If a file cannot be read, or if a field is missing, unknown, not allowed or of the wrong type.
    """
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SpecError(str(path), "", f"cannot be read: {error}") from error
    try:
        found = TypeAdapter(Settings).validate_python(settings, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or str(path)
        raise SpecError(field, first["input"], first["msg"]) from error
    if wrong := next(check_defaults(found), None):
        raise wrong
    if found.server_key:
        raise SpecError("server_key", "***", "must not be in the settings file: set server_key_file")
    return dataclasses.replace(found, server_key=_server_key(found.server_key_file))


def _server_key(file: str) -> bytes:
    if not file:
        return b""
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise SpecError("server_key_file", file, f"cannot be read: {error}") from error
    if len(key) < SERVER_KEY_MIN_BYTES:
        raise SpecError("server_key_file", file, f"must hold at least {SERVER_KEY_MIN_BYTES} bytes")
    return key


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator until SIGINT or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="fusionrun", description="The FusionRun operator.")
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


if __name__ == "__main__":
    sys.exit(main())
