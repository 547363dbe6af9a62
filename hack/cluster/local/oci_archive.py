"""Write an OCI image archive of static programs.

    oci_archive.py IMAGE ARCHIVE [--user UID] --entrypoint PATH PATH=FILE...

Each PATH=FILE copies FILE to PATH in the image, as an executable. The same input gives the same bytes.
"""

import argparse
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def tar_of(files: dict[str, bytes], mode: int) -> bytes:
    """Return a tar archive of files, by path, with fixed owner and times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def oci_archive(image: str, files: dict[str, bytes], config: dict[str, Any]) -> bytes:
    """Return the OCI archive of an image with one layer.

    Notes
    -----
    Source: OCI image layout, https://github.com/opencontainers/image-spec/blob/main/image-layout.md;
    containerd takes the name of an imported image from the annotation `io.containerd.image.name`.
    """
    blobs: dict[str, bytes] = {}

    def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def as_json(value: dict[str, Any]) -> bytes:
        return json.dumps(value, sort_keys=True).encode()

    layer = descriptor(tar_of(files, 0o755), "application/vnd.oci.image.layer.v1.tar")
    image_config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(as_json(image_config), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer],
    }
    entry = descriptor(as_json(manifest), manifest["mediaType"])
    entry["annotations"] = {"io.containerd.image.name": image}
    index = as_json({"schemaVersion": 2, "manifests": [entry]})
    return tar_of({"oci-layout": as_json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}, 0o644)


def main() -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser(description="Write an OCI image archive from files.")
    parser.add_argument("image")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--entrypoint", required=True)
    parser.add_argument("files", nargs="+", metavar="PATH=FILE")
    arguments = parser.parse_args()
    pairs = (pair.split("=", 1) for pair in arguments.files)
    files = {path: Path(file).read_bytes() for path, file in pairs}
    config = {"User": arguments.user, "Entrypoint": [arguments.entrypoint], "Env": ["PATH=/"]}
    arguments.archive.write_bytes(oci_archive(arguments.image, files, config))


if __name__ == "__main__":
    main()
