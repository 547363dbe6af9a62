"""Build images with buildah from Debian packages, in a store below the cache."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import IO

from image_set import DEBIAN_PACKAGES, REPOSITORY, SUITES, Image, source_files, wheel_key
from layout import Layout

# Each is also the name of its Debian package.
PROGRAMS = ("buildah", "debootstrap", "skopeo")
# No host has this name, so a missing image is never pulled.
LOCAL_REGISTRY = "fusionrun.local"
STRIPPED_FOLDERS = (
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
ENVIRONMENT = REPOSITORY / "hack" / "images" / "environment"


class BuildError(Exception):
    """A condition that prevents building the images, with the remedy."""


class Builder:
    """A buildah store and the tools that build into it."""

    def __init__(self, cache: Path, log: Callable[[str], None]) -> None:
        self.cache = cache
        self.store = cache / "storage"
        self.log = log

    def reference(self, name: str, keys: dict[str, str]) -> str:
        """Return the name of an image in the cluster."""
        return f"{LOCAL_REGISTRY}/{name}:{keys[name]}"

    def references(self) -> set[str]:
        """Return the names of the store's images."""
        self._require_programs()
        images = json.loads(self._buildah("images", "--json", capture=True) or "[]")
        return {name for image in images for name in image["names"] or ()}

    def build_missing(self, images: tuple[Image, ...], keys: dict[str, str]) -> None:
        """Build the images that the store lacks, base images first, two at a time (pip uses one thread)."""
        present = self.references()
        # A build that failed or was killed leaves its containers, of up to 9 GB each.
        self._buildah("rm", "--all", capture=True)
        self.log(f"the wheel is {self.wheel}")
        _ = self.host_settings  # once, before there are threads
        built: set[str] = set()

        def build(image: Image) -> None:
            started = time.monotonic()
            self.build(image, keys)
            self.log(f"built {self.reference(image.name, keys)} in {time.monotonic() - started:.1f} s")

        missing = [image for image in images if self.reference(image.name, keys) not in present]
        while missing:
            waiting = {image.name for image in missing} - built
            ready = [image for image in missing if image.parent not in waiting]
            with ThreadPoolExecutor(max_workers=2) as pool:
                list(pool.map(build, ready))
            built |= {image.name for image in ready}
            missing = [image for image in missing if image not in ready]

    def build(self, image: Image, keys: dict[str, str]) -> None:
        """Build one image. Its base image must exist."""
        if image.dockerfile is None:
            self._build_base(image.name, self.reference(image.name, keys))
            return
        log = self.cache / "log" / f"{image.name}.log"
        log.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as context, log.open("w") as output:
            self._fill_context(Path(context), image)
            command = ["bud", "--layers", "--network", "host", *self.host_settings]
            if image.parent:
                command += ["--build-arg", f"BASE_IMAGE={self.reference(image.parent, keys)}"]
            for name, value in image.arguments.items():
                command += ["--build-arg", f"{name}={value}"]
            command += ["--file", str(REPOSITORY / str(image.dockerfile)), "--tag", self.reference(image.name, keys)]
            try:
                self._buildah(*command, context, output=output)
            except subprocess.CalledProcessError as error:
                tail = "\n".join(log.read_text().splitlines()[-15:])
                raise BuildError(f"{image.name} failed to build; end of {log}:\n{tail}") from error

    def run_in(self, reference: str, *command: str) -> None:
        """Run a command in a container of an image as the image's user, with its output on standard error."""
        container = self._buildah("from", reference, capture=True).strip()
        try:
            self._buildah("run", container, "--", *command)
        finally:
            self._buildah("rm", container, capture=True)

    def size(self, reference: str) -> str:
        """Return the size of an image's unpacked layers as text, such as ``1.2 GB``."""
        (image,) = json.loads(self._buildah("images", "--json", reference, capture=True))
        size: str = image["size"]
        return size

    def push_to_layout(self, reference: str, layout: Layout) -> None:
        """Copy an image into the layout, except for blobs that it already has.

        The layers are not compressed: compressing 6 GB takes longer than the rest of the build, and the digest of an
        uncompressed layer is known before it is packed, so an existing layer is skipped.
        """
        layout.path.mkdir(parents=True, exist_ok=True)
        store = f"containers-storage:[overlay@{self.store}+{self.cache / 'run'}]{reference}"
        command = ["skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", store]
        command.append(f"oci:{layout.path}:{reference}")
        subprocess.run(command, check=True, env=self._environment())

    def push_to_registry(self, reference: str, target: str) -> None:
        """Copy an image to a registry, with the credentials of `buildah login`."""
        self._buildah("push", "--quiet", reference, f"docker://{target}")

    def keep_only(self, references: set[str]) -> None:
        """Remove all other images from the store."""
        stale = self.references() - references
        if stale:
            self._buildah("rmi", "--force", *sorted(stale), capture=True)

    def _build_base(self, name: str, reference: str) -> None:
        """Build the replacement of a base image, such as python:3.11-slim-bookworm, from the host's Debian mirror."""
        log = self.cache / "log" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as folder, log.open("w") as output:
            root = Path(folder) / "root"
            packages = ",".join(DEBIAN_PACKAGES)
            # A mount namespace: debootstrap's mounts disappear when it exits, also after an error.
            command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={packages}"]
            command += [SUITES[name], str(root), self.debian_mirror]
            try:
                subprocess.run(command, check=True, stdout=output, stderr=output)
            except subprocess.CalledProcessError as error:
                raise BuildError(f"debootstrap failed; read {log}") from error
            strip_base(root)
            container = self._buildah("from", "scratch", capture=True).strip()
            self._buildah("add", "--quiet", container, str(root), "/", capture=True)
            path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            self._buildah("config", "--cmd", "python3", "--env", path, container)
            self._buildah("commit", "--quiet", "--rm", container, reference, capture=True)

    def _fill_context(self, context: Path, image: Image) -> None:
        """Copy the files that the hash of the image covers, and no others."""
        for path in image.files:
            for file in source_files(path):
                copy = context / file.relative_to(REPOSITORY)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)
        if image.has_wheel:
            shutil.copytree(self.wheel, context / "dist")

    @cached_property
    def debian_mirror(self) -> str:
        """Return the mirror of the host's own Debian release; it has the other releases, too."""
        target = ["Created-By: Packages", "Origin: Debian", "Label: Debian", "--format", "$(SITE)"]
        listed = subprocess.run(["apt-get", "indextargets", *target], check=True, capture_output=True, text=True)
        if not listed.stdout:
            raise BuildError("apt has no mirror of Debian")
        return listed.stdout.split()[0]

    @cached_property
    def wheel(self) -> Path:
        """Return the folder of the wheel, which all images of a build share."""
        folder = self.cache / "wheels" / wheel_key()
        if not folder.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            part = folder.with_suffix(".part")
            command = [str(self.tools / "bin" / "pyproject-build"), "--wheel", "--no-isolation", "--outdir", str(part)]
            # hatchling sets this time on every file, so the same sources give the same bytes.
            reproducible = {**os.environ, "SOURCE_DATE_EPOCH": "1580601600"}
            made = subprocess.run(
                command, check=False, cwd=REPOSITORY, env=reproducible, capture_output=True, text=True
            )
            if made.returncode:
                raise BuildError(f"the wheel failed to build:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
            part.rename(folder)
        return folder

    @cached_property
    def tools(self) -> Path:
        """Return the Python environment of the tools, which hack/images/lock uses, too."""
        cache = {**os.environ, "FUSIONRUN_CACHE": str(self.cache.parent)}
        made = subprocess.run([ENVIRONMENT], check=True, env=cache, stdout=subprocess.PIPE, text=True)
        return Path(made.stdout.strip())

    @cached_property
    def host_settings(self) -> list[str]:
        """Return the volumes that give pip in a build step the package index and certificates of the host."""
        settings = self.cache / "pip.conf"
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
        ).stdout
        lines = [line.split("=", 1) for line in listed.splitlines() if "=" in line]
        # `global.cert='...'` and `:env:.cert='...'`; the environment comes first and takes precedence.
        options = {name.rsplit(".", 1)[1]: value.strip("'") for name, value in reversed(lines)}
        options.pop("find-links", None)
        settings.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
        certificates = ("/etc/ssl/certs", "/usr/local/share/ca-certificates")
        volumes = [(str(settings), "/etc/pip.conf"), *((folder, folder) for folder in certificates)]
        return [word for here, there in volumes if Path(here).exists() for word in ("--volume", f"{here}:{there}:ro")]

    def _require_programs(self) -> None:
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        if not missing:
            return
        if os.geteuid() or not shutil.which("apt-get"):
            raise BuildError(f"these programs are missing: {' '.join(missing)}")
        self.log(f"installing {' '.join(missing)}")
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=600"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # One unreachable package source must not prevent the installation.
        subprocess.run([*apt, "update", "-qq"], check=False, env=environment, capture_output=True)
        command = [*apt, "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, env=environment, capture_output=True)

    def _environment(self) -> dict[str, str]:
        """Return the environment of buildah and skopeo, with large temporary files on the cache's disk."""
        (self.cache / "tmp").mkdir(exist_ok=True)
        return {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.cache / "tmp")}

    def _buildah(self, *arguments: str, capture: bool = False, output: IO[str] | None = None) -> str:
        """Run buildah on this store. Chroot isolation works without the permission to create containers."""
        command = ["buildah", "--root", str(self.store), "--runroot", str(self.cache / "run")]
        command += ["--storage-driver", "overlay", *arguments]
        stdout: int | IO[str] = subprocess.PIPE if capture else output or sys.stderr
        done = subprocess.run(command, check=True, env=self._environment(), text=True, stdout=stdout, stderr=output)
        return done.stdout or ""


def strip_base(root: Path) -> None:
    """Remove files that no image needs, and files that debootstrap copied from the host."""
    for folder in STRIPPED_FOLDERS:
        for path in (root / folder).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for file in ("etc/resolv.conf", "etc/hostname"):
        (root / file).unlink(missing_ok=True)
