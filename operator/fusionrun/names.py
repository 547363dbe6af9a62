"""Every name that FusionRun gives to a thing, and the rules they follow.

Pure. No other module spells a label key, a group or an object name by hand.
"""

import hashlib
import re

GROUP = "fusionrun.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FusionRun"
PLURAL = "fusionruns"
SINGULAR = "fusionrun"
SHORT_NAME = "fr"

FIELD_MANAGER = "fusionrun-operator"

LABEL_RUN = f"{GROUP}/run"
LABEL_STAGE = f"{GROUP}/stage"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"

MANAGED_BY = "fusionrun-operator"

RUN_NAME_MAX = 50
"""Longest name of a FusionRun, in characters.

Source: PyTorchJob and Service names are DNS-1035 labels of at most 63 characters, and the training operator
appends up to ``-worker-999`` (kubeflow/training-operator, pkg/controller.v1/common); we append a stage and a
digest as well, and shorten what comes before them.
"""

OBJECT_NAME_MAX = 50
DIGEST_LENGTH = 10


def digest_of(*parts: str, length: int = DIGEST_LENGTH) -> str:
    """Hash the parts to ``length`` hexadecimal digits."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:length]


def dns_label(text: str) -> str:
    """Turn text into a DNS-1035 label: lower case, dots and slashes to dashes, a letter first."""
    label = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    return label if label[:1].isalpha() else f"r-{label}"


def object_name(run: str, stage: str, digest: str, attempt: int = 0) -> str:
    """Name a child object: run, stage, the digest that makes it unique, and the attempt after the first.

    Parameters
    ----------
    run, stage
        Names of the run and of the stage, e.g. ``llama-3.1`` and ``generate/qwen``.
    digest
        At least ``DIGEST_LENGTH`` hexadecimal digits, with the run's UID in it.
    attempt
        0 for the first; later ones end in ``-r1``, ``-r2``.

    Returns
    -------
    str
        A DNS-1035 label of at most ``OBJECT_NAME_MAX`` characters.
    """
    tail = f"-{digest[:DIGEST_LENGTH]}" + (f"-r{attempt}" if attempt else "")
    head = dns_label(f"{run}-{stage}")[: OBJECT_NAME_MAX - len(tail)].rstrip("-")
    return head + tail


def stage_label(stage: str) -> str:
    """Return the label value of a stage's name: a slash is not allowed there, a dot is."""
    return stage.replace("/", ".")


def stage_from_label(value: str) -> str:
    """Return the stage's name that a label value stands for (``generate.qwen`` is ``generate/qwen``)."""
    return value.replace(".", "/", 1)


def spec_config_map(run: str) -> str:
    """Name the immutable ConfigMap that keeps a run's resolved spec and images; dots stay, so no two runs share it."""
    return f"{run}-spec"


def resolved_config_map(run: str) -> str:
    """Name the immutable ConfigMap that keeps what ``resolve`` found: pins and complete artifacts."""
    return f"{run}-resolved"
