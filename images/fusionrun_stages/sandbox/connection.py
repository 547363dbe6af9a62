"""The judge's connection to the runner."""

import os
import socket
import time
from pathlib import Path

from fusionrun.api.sandbox import SOCKET
from fusionrun_stages.errors import InfrastructureError

SOCKET_ENV = "FUSIONRUN_SANDBOX_SOCKET"
CONNECT_SECONDS = 330.0
"""Maximum time until the runner listens (again): the kubelet waits up to 5 minutes before it restarts a container."""


def socket_path() -> Path:
    """Return the path of the runner's socket."""
    return Path(os.environ.get(SOCKET_ENV, SOCKET))


def connect() -> socket.socket:
    """Connect to the runner.

    Raises
    ------
    InfrastructureError
        If the runner does not listen within ``CONNECT_SECONDS``.
    """
    path, deadline = socket_path(), time.monotonic() + CONNECT_SECONDS
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(path))
        except OSError as error:
            control.close()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the sandbox runner does not listen on {path}: {error}") from error
            time.sleep(0.05)
        else:
            return control
