"""Manifests of artifacts on the volume. ``fusionrun.api.artifacts`` has their format and the rule of completeness."""

from pathlib import Path

from fusionrun.api import artifacts
from fusionrun.api.artifacts import ArtifactManifest, decode_manifest, encode_manifest
from fusionrun_stages.volume.atomic import write_atomic


def read_manifest(
    artifact: Path, kind: str, shard: int | None = None, shards: int | None = None
) -> ArtifactManifest | None:
    """Return the manifest of an artifact's directory, or of one of its shards; None if it is not complete.

    ``shards`` is the number of shards of an Indexed stage.
    """
    try:
        path = Path(artifacts.manifest_path(str(artifact), shard, shards))
        manifest = decode_manifest(path.read_bytes(), kind)
    except (OSError, ValueError):
        return None
    return manifest if artifacts.is_complete(manifest, lambda name: _size(artifact / name)) else None


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
