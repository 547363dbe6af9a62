"""Read the settings file of the operator, which the chart writes."""

import dataclasses
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from fusionrun.errors import SpecError
from fusionrun.plan.pod_checks import check_defaults
from fusionrun.settings import Settings

SERVER_KEY_MIN_BYTES = 32
"""Length of a SHA-256, the hash of the HMAC. Source: RFC 2104, section 3."""


def load_settings(path: Path) -> Settings:
    """Read the settings file, and the key of the model servers.

    Raises
    ------
    SpecError
        If a file cannot be read, or if a field is missing, unknown, not allowed or of the wrong type.
    """
    found = read_settings(path)
    return dataclasses.replace(found, server_key=_server_key(found.server_key_file))


def read_settings(path: Path) -> Settings:
    """Read the settings file without the key of the model servers, which only the operator has.

    Raises
    ------
    SpecError
        As for ``load_settings``.
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
    return found


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
