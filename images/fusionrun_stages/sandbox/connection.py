"""The judge's connection to the runner."""

import os
import socket
import time

from fusionrun.api.sandbox import SOCKET
from fusionrun_stages.errors import InfrastructureError

SOCKET_ENV = "FUSIONRUN_SANDBOX_SOCKET"
CONNECT_SECONDS = 330.0
"""Maximum time until the runner listens (again): the kubelet waits up to 5 minutes before it restarts a container."""


def connect() -> socket.socket:
    """Connect to the runner; wait until it listens, for at most ``CONNECT_SECONDS``."""
    path, deadline = os.environ.get(SOCKET_ENV, SOCKET), time.monotonic() + CONNECT_SECONDS
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(path)
        except OSError as error:
            control.close()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the sandbox runner does not listen on {path}: {error}") from error
            time.sleep(0.05)
        else:
            return control
