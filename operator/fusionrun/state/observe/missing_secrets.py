"""A Secret, or a key of one, that a pod cannot start without.

The operator may not read Secrets. The kubelet tells which one is missing, and starts the container once it exists.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fusionrun.api.contract import Manifest
from fusionrun.state.observe.object_fields import container_statuses, is_deleting, pod_ended

CONFIG_ERROR = "CreateContainerConfigError"

# Source: Kubernetes, pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), and the message of a Secret that the API
# server does not find.
_NO_SECRET = re.compile(r'secret "(?P<name>[^"]+)" not found')
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in Secret [^/\s]+/(?P<name>\S+)")


@dataclass(frozen=True)
class MissingSecret:
    """What a pod waits for."""

    name: str
    key: str | None
    """The key that the Secret lacks; None if there is no such Secret."""


def missing_secret(pods: Iterable[Manifest]) -> MissingSecret | None:
    """Return the Secret that the first waiting pod needs; None if no pod waits for one."""
    for pod in pods:
        if pod_ended(pod) or is_deleting(pod):
            continue
        for container in container_statuses(pod, init=True):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") != CONFIG_ERROR:
                continue
            text = waiting.get("message") or ""
            if found := _NO_SECRET.search(text):
                return MissingSecret(found["name"], None)
            if found := _NO_KEY.search(text):
                return MissingSecret(found["name"], found["key"])
    return None
