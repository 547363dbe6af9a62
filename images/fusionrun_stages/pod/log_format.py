"""The log of a stage: lines of text, or JSON objects with the field names of the operator's log."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from fusionrun.api.pod import LOG_FORMAT_ENV
from fusionrun_stages.errors import escape_controls

LOG_CHARACTERS = 20_000
"""Longest message or traceback in the log."""
SEVERITIES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
"""Source: kopf, ``ObjectJsonFormatter``, which writes the operator's log."""


def configure_log() -> None:
    """Write warnings of libraries and messages of the stages from INFO on to stderr, in the format of the operator."""
    handler = logging.StreamHandler(sys.stderr)
    is_json = os.environ.get(LOG_FORMAT_ENV) == "json"
    handler.setFormatter(JsonFormatter() if is_json else LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("fusionrun_stages").setLevel(logging.INFO)


class LineFormatter(logging.Formatter):
    """Formats a message as one line, and a traceback as lines without control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the base class
        """Return the message in one line."""
        return escape_controls(super().formatMessage(record)[:LOG_CHARACTERS])

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of the base class
        """Return the traceback; a message in it may have lines of its own."""
        text = super().formatException(ei)[-LOG_CHARACTERS:]
        return "\n".join(map(escape_controls, text.split("\n")))


class JsonFormatter(logging.Formatter):
    """Formats a message and its traceback as a JSON object in one line of ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        fields = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "severity": SEVERITIES.get(record.levelno, record.levelname.lower()),
            "logger": record.name,
            "message": record.getMessage()[:LOG_CHARACTERS],
        }
        if record.exc_info:
            fields["exc_info"] = self.formatException(record.exc_info)[-LOG_CHARACTERS:]
        return json.dumps(fields)
