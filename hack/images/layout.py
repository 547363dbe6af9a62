"""An OCI image layout: one folder that holds every image, each layer once.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import IO, Any

NAME = "org.opencontainers.image.ref.name"
# By this annotation containerd names an image that it imports.
CONTAINERD_NAME = "io.containerd.image.name"


class Layout:
    """Read, pack and prune a layout that buildah writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def references(self) -> list[str]:
        """Return the names of the images that the layout holds."""
        return sorted(self._manifests())

    def blob(self, digest: str) -> Path:
        """Return where a blob lies."""
        return self.path / "blobs" / digest.replace(":", "/")

    def layers(self, reference: str) -> list[str]:
        """Return the digests of an image's layers, lowest first."""
        return [layer["digest"] for layer in self._read(self._manifests()[reference]["digest"])["layers"]]

    def diff_ids(self, reference: str) -> list[str]:
        """Return the digests of an image's uncompressed layers, lowest first."""
        manifest = self._read(self._manifests()[reference]["digest"])
        digests: list[str] = self._read(manifest["config"]["digest"])["rootfs"]["diff_ids"]
        return digests

    def write_archive(self, references: list[str], known: set[str], stream: IO[bytes]) -> int:
        """Write a tar with these images, without the layers that the reader already has.

        Returns
        -------
        int
            The bytes of the blobs written.
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
        """Drop every other image, and the blobs that only those needed."""
        index = json.loads((self.path / "index.json").read_text())
        index["manifests"] = [entry for entry in index["manifests"] if entry["annotations"][NAME] in references]
        part = self.path / "index.json.part"
        part.write_text(json.dumps(index))
        part.rename(self.path / "index.json")
        needed = {digest for entry in index["manifests"] for digest in self._reachable(entry["digest"])}
        for path in (self.path / "blobs" / "sha256").iterdir():
            if f"sha256:{path.name}" not in needed:
                path.unlink()

    def share_blob(self, digest: str, twin: Path) -> bool:
        """Make a blob and its twin one file on disk, and say whether that changed anything."""
        blob = self.blob(digest)
        if not twin.exists() or twin.samefile(blob) or twin.stat().st_dev != blob.stat().st_dev:
            return False
        part = blob.with_suffix(".part")
        part.unlink(missing_ok=True)
        os.link(twin, part)
        part.rename(blob)
        return True

    def _manifests(self) -> dict[str, dict[str, Any]]:
        """Return the index's entries by the images' names."""
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


def chain_ids(diff_ids: list[str]) -> list[str]:
    """Return the name of each layer together with all below it.

    Notes
    -----
    Source: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        below = f"{chain[-1]} {diff_id}" if chain else None
        chain.append("sha256:" + hashlib.sha256(below.encode()).hexdigest() if below else diff_id)
    return chain


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a small file to a tar."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Write a file as a file, also where it shares its blocks with another name."""
    entry.type, entry.linkname = tarfile.REGTYPE, ""
    return entry
