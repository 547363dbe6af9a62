"""An OCI image layout: one folder with all images, where each layer is stored once.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import io
import json
import tarfile
from pathlib import Path
from typing import IO, Any

NAME = "org.opencontainers.image.ref.name"
# The annotation from which containerd takes the name of an imported image.
CONTAINERD_NAME = "io.containerd.image.name"


class Layout:
    """A layout that skopeo writes: read, pack and prune it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def references(self) -> list[str]:
        """Return the names of the layout's images."""
        return sorted(self._manifests())

    def blob(self, digest: str) -> Path:
        """Return the path of a blob."""
        return self.path / "blobs" / digest.replace(":", "/")

    def layers(self, reference: str) -> list[str]:
        """Return the digests of an image's layers, from the lowest."""
        return [layer["digest"] for layer in self._read(self._manifests()[reference]["digest"])["layers"]]

    def write_archive(self, references: list[str], known: set[str], stream: IO[bytes]) -> int:
        """Write a tar archive with these images, without the layers in ``known``.

        Returns
        -------
        int
            Bytes of the blobs written.
        """
        entries = [self._manifests()[reference] for reference in references]
        named = [
            {**entry, "annotations": {CONTAINERD_NAME: reference}}
            for entry, reference in zip(entries, references, strict=True)
        ]
        blobs = {digest for entry in entries for digest in self._reachable(entry["digest"])}
        layers = {layer for reference in references for layer in self.layers(reference)}
        wanted = blobs - (layers & known)
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            add_bytes(tar, "oci-layout", (self.path / "oci-layout").read_bytes())
            add_bytes(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": named}).encode())
            for digest in sorted(wanted):
                tar.add(self.blob(digest), f"blobs/{digest.replace(':', '/')}", filter=plain)
        return sum(self.blob(digest).stat().st_size for digest in wanted)

    def keep_only(self, references: set[str]) -> None:
        """Delete all other images, with the blobs that only they use."""
        index = json.loads((self.path / "index.json").read_text())
        index["manifests"] = [entry for entry in index["manifests"] if entry["annotations"][NAME] in references]
        part = self.path / "index.json.part"
        part.write_text(json.dumps(index))
        part.rename(self.path / "index.json")
        needed = {digest for entry in index["manifests"] for digest in self._reachable(entry["digest"])}
        for path in (self.path / "blobs" / "sha256").iterdir():
            if f"sha256:{path.name}" not in needed:
                path.unlink()

    def link_blob(self, digest: str, twin: Path) -> None:
        """Replace a blob by a hard link to the same blob in another folder, if both are on one file system."""
        blob = self.blob(digest)
        if not twin.exists() or twin.samefile(blob) or twin.stat().st_dev != blob.stat().st_dev:
            return
        part = blob.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.hardlink_to(twin)
        part.rename(blob)

    def _manifests(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the index by image name."""
        if not (self.path / "index.json").exists():
            return {}
        index = json.loads((self.path / "index.json").read_text())
        return {entry["annotations"][NAME]: entry for entry in index["manifests"]}

    def _reachable(self, manifest: str) -> list[str]:
        content = self._read(manifest)
        return [manifest, content["config"]["digest"], *(layer["digest"] for layer in content["layers"])]

    def _read(self, digest: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.blob(digest).read_text())
        return content


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file with this content to a tar archive."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Write a hard link as a regular file."""
    entry.type, entry.linkname = tarfile.REGTYPE, ""
    return entry
