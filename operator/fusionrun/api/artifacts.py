"""Where things lie on a run's volume, how an artifact's digest is made, and when it is complete.

Layout, below the claim's root (mounted at ``MOUNT_PATH``)::

    fusionrun/
      models/<fingerprint>/              a fetched model
      artifacts/<kind>/<digest>/         what one stage made, manifest.json written last
      artifacts/<kind>/<digest>/manifests/00003-of-00008.json   of an Indexed stage: one manifest per shard

A manifest is completeness: it is written by an atomic rename after everything else. Pure: paths are strings,
nothing here touches a file.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from fusionrun.api.contract import Contract

MOUNT_PATH = "/data"
ROOT = f"{MOUNT_PATH}/fusionrun"
DIGEST_LENGTH = 20

COMPLETE_MANIFEST = "manifest.json"


class Manifest(Contract):
    """What a stage (or one shard of it) made: written last, so that its presence means completeness."""

    schema_version: int
    stage: str
    digest: str
    files: dict[str, int]
    """Size in bytes of every file, by its path relative to the artifact."""
    counts: dict[str, int] = {}
    numbers: dict[str, float] = {}
    details: dict[str, Any] = {}
    """Anything of interest to people: not read by the operator."""


def artifact_dir(kind: str, digest: str) -> str:
    """Return the directory of a stage's artifact."""
    return f"{ROOT}/artifacts/{kind}/{digest}"


def model_dir(fingerprint: str) -> str:
    """Return the directory of a fetched model."""
    return f"{ROOT}/models/{fingerprint}"


def shard_name(index: int, count: int) -> str:
    """Name a shard, zero-based: ``00003-of-00008``."""
    return f"{index:05d}-of-{count:05d}"


def manifest_paths(directory: str, shards: int | None) -> list[str]:
    """List the manifests that must all exist for an artifact to be complete.

    Parameters
    ----------
    directory
        The artifact's directory.
    shards
        Number of shards of an Indexed stage, else None.
    """
    if shards is None:
        return [f"{directory}/{COMPLETE_MANIFEST}"]
    return [f"{directory}/manifests/{shard_name(i, shards)}.json" for i in range(shards)]


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stage_digest(parameters_digest: str, pins: Iterable[str], inputs: Iterable[str]) -> str:
    """Hash what a stage's output depends on.

    Parameters
    ----------
    parameters_digest
        Hash of the stage's kind, version and own part of the resolved spec (``parameters_digest``).
    pins
        Fingerprints of the models and data sets that it reads, in the plan's order.
    inputs
        Digests of the stages that it reads, in the plan's order.

    Notes
    -----
    The operator and ``resolve`` both call this, so both know the same digest without asking each other.
    """
    text = canonical([parameters_digest, list(pins), list(inputs)])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def parameters_digest(kind: str, version: int, parameters: Mapping[str, Any]) -> str:
    """Hash a stage's kind, version and own parameters."""
    return hashlib.sha256(canonical([kind, version, dict(parameters)]).encode()).hexdigest()[:DIGEST_LENGTH]


def claim_path(uri: str) -> str:
    """Turn ``pvc://claim/path`` into the path in a pod.

    Raises
    ------
    ValueError
        If the URI is of another scheme, or its path climbs out of the volume.
    """
    scheme, _, rest = uri.partition("://")
    _, _, path = rest.partition("/")
    parts = path.split("/")
    if scheme != "pvc" or not path or ".." in parts:
        raise ValueError(f"{uri!r} is not pvc://claim/path")
    return "/".join([MOUNT_PATH, *(p for p in parts if p not in ("", "."))])
