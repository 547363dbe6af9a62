"""The API key of a run's model servers, in a Secret that their pods and the pods of their clients refer to.

The operator can create Secrets and not read them. It creates the Secret with each server and each client, so that one
that was deleted exists again; an existing one is immutable.
"""

import base64
import hashlib
import hmac
from typing import Any

from fusionrun import names
from fusionrun.api.contract import Manifest
from fusionrun.objects import meta
from fusionrun.plan.pinned import Feature, Run

VLLM_KEY_ENV = "VLLM_API_KEY"
"""Source: vLLM, envs.py. The key protects the paths below ``/v1``; ``/health`` and ``/metrics`` stay open."""
KEY = "key"
"""Key in the Secret."""


def build_secret(run: Run, operator_key: bytes) -> list[Manifest]:
    """Return the Secret of a run whose servers ask for a key; none if they do not.

    The name depends on the UID: a new run of the same name has another Secret.
    """
    if Feature.SERVER_KEY not in run.features or not operator_key:
        return []
    key = hmac.new(operator_key, run.uid.encode(), hashlib.sha256).hexdigest()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta.metadata(run, secret_name(run), meta.run_labels(run)),
        "type": "Opaque",
        "immutable": True,
        "data": {KEY: base64.b64encode(key.encode()).decode()},
    }
    return [secret]


def key_variable(run: Run, variable: str) -> list[dict[str, Any]]:
    """Return an environment variable with the key; none if the servers of the run ask for none."""
    if Feature.SERVER_KEY not in run.features:
        return []
    return [{"name": variable, "valueFrom": {"secretKeyRef": {"name": secret_name(run), "key": KEY}}}]


def secret_name(run: Run) -> str:
    """Return the name of the Secret of a run."""
    return names.object_name(run.name, "server-key", names.digest_of(run.uid, "server-key"))
