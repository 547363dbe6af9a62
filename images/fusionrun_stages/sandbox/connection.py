"""The judge's way to the runner."""

import os
import socket
import time
from pathlib import Path

from fusionrun.api.sandbox import SOCKET
from fusionrun_stages.errors import InfrastructureError

SOCKET_ENV = "FUSIONRUN_SANDBOX_SOCKET"
CONNECT_SECONDS = 330.0
"""How long the runner may take to come (back) up: the kubelet waits up to 5 minutes before it restarts a container."""


def socket_path() -> Path:
    """Return where the runner listens."""
    return Path(os.environ.get(SOCKET_ENV, SOCKET))


def connect() -> socket.socket:
    """Connect to the runner.

    Raises
    ------
    InfrastructureError
        If it does not answer for longer than a restart takes.
    """
    path, deadline = socket_path(), time.monotonic() + CONNECT_SECONDS
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(path))
        except OSError as error:
            control.close()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the sandbox runner does not answer on {path}: {error}") from error
            time.sleep(0.05)  # a socket that is not there yet cannot be waited for
        else:
            return control
