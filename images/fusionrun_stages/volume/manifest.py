"""Manifests of artifacts on the volume. ``fusionrun.api.artifacts`` has their format and the rule of completeness."""

from pathlib import Path
from typing import TypeVar

from fusionrun.api import artifacts
from fusionrun.api.artifacts import ArtifactManifest, decode_manifest, encode_manifest
from fusionrun.api.contract import Contract
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import inside_volume

V = TypeVar("V", bound=Contract)


def read_manifest(
    artifact: Path, kind: str, shard: int | None = None, shards: int | None = None
) -> ArtifactManifest | None:
    """Return the manifest of an artifact's directory, or of one of its shards; None if it is not complete.

    ``shards`` is the number of shards of an Indexed stage.

    Raises
    ------
    UserError
        If a symbolic link leads out of the volume.
    """
    try:
        path = inside_volume(artifacts.manifest_path(str(artifact), shard, shards))
        manifest = decode_manifest(path.read_bytes(), kind)
    except (OSError, ValueError):
        return None
    return manifest if artifacts.is_complete(manifest, lambda name: _size(artifact / name)) else None


def read_input(artifact: Path, kind: str, values: type[V]) -> tuple[ArtifactManifest, V]:
    """Return the manifest of an artifact that a stage reads, and its values.

    Raises
    ------
    InfrastructureError
        If the artifact is not complete.
    """
    manifest = read_manifest(artifact, kind)
    if manifest is None or not isinstance(manifest.values, values):
        raise InfrastructureError(f"{artifact}: the artifact is not complete")
    return manifest, manifest.values


def write_manifest(artifact: Path, manifest: ArtifactManifest, shard: int | None, shards: int | None) -> None:
    """Write the manifest of an artifact, or of one shard of it."""
    write_atomic(Path(artifacts.manifest_path(str(artifact), shard, shards)), encode_manifest(manifest))


def is_complete(artifact: Path, kind: str, shards: int | None) -> bool:
    """Return whether all manifests of an artifact and the files that they list exist."""
    indexes = [None] if shards is None else range(shards)
    return all(read_manifest(artifact, kind, shard, shards) is not None for shard in indexes)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
