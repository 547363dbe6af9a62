"""Read objects with kubectl, which has the credentials of the user. Needs nothing but Python's standard library."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

SECONDS = 30
"""Time for one request."""


class KubectlError(Exception):
    """A request that failed, with the message of kubectl."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a context."""

    kubeconfig: str = ""
    context: str = ""

    def read(self, *words: str) -> Any:
        """Return the output of a command that prints JSON.

        Raises
        ------
        KubectlError
            If kubectl is missing, fails, or does not answer in ``SECONDS``.
        """
        return json.loads(self.text(*words, "-o", "json"))

    def text(self, *words: str) -> str:
        """Return the output of a command.

        Raises
        ------
        KubectlError
            As for ``read``.
        """
        options = [f"--request-timeout={SECONDS}s"]
        options += [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        options += [f"--context={self.context}"] if self.context else []
        command = ["kubectl", *options, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 5, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KubectlError(f"kubectl {' '.join(words)}: {error}") from error
        if done.returncode:
            message = (done.stderr or done.stdout).strip().splitlines()
            raise KubectlError(message[-1] if message else f"kubectl {' '.join(words)} failed")
        return done.stdout
