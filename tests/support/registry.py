"""A registry on loopback with one user, for the images of hack/images/build. It needs crane and skopeo."""

import base64
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from support.live import CACHE

USER, PASSWORD = "tester", "only for this test"
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuubyNe9wMd5jVXU5IcsF4WSt4zL9IRFXS\n"
"""The user with the bcrypt hash of the password."""
START_SECONDS = 30
LAYOUT = CACHE / "images" / "layout"
NAME = "org.opencontainers.image.ref.name"
"""The annotation with the name of an image in the layout."""


@dataclass(frozen=True)
class Registry:
    """A running registry. Its folder has its files, its log, and the credentials for clients."""

    host: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which crane, skopeo and helm are logged in."""
        file = self.folder / "config.json"
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        file.write_text(json.dumps({"auths": {self.host: {"auth": token}}}))
        logins = {"REGISTRY_AUTH_FILE": str(file), "HELM_REGISTRY_CONFIG": str(file)}
        return {**os.environ, **logins, "DOCKER_CONFIG": str(self.folder)}

    def run(self, *command: str | Path, **more: str) -> str:
        """Run a command that is logged in, and return its output."""
        environment = self.environment | more
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def push(self, reference: str, target: str) -> str:
        """Push an image of hack/images/build with a layer that no other image has, and return its digest.

        containerd has the other layers already, and would pull nothing.
        """
        self._link_layers(reference, target)
        self.run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false",
                 f"oci:{LAYOUT}:{reference}", f"docker://{target}")  # fmt: skip
        layer = self.folder / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            entry, content = tarfile.TarInfo("opt/registry-test"), uuid.uuid4().bytes
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        pushed = self.run("crane", "append", "--base", target, "--new_tag", target, "--new_layer", str(layer))
        return pushed.strip().rpartition("@")[2]

    def _link_layers(self, reference: str, target: str) -> None:
        """Put the layers of an image into the storage of the registry as hard links: seven gigabytes less to copy.

        Source: distribution, registry/storage/paths.go.
        """
        storage = self.folder / "storage/docker/registry/v2"
        index = json.loads((LAYOUT / "index.json").read_text())
        (manifest,) = [m["digest"] for m in index["manifests"] if m["annotations"][NAME] == reference]
        repository = target.removeprefix(f"{self.host}/").rpartition(":")[0]
        for layer in json.loads(_blob(manifest).read_text())["layers"]:
            algorithm, _, digest = layer["digest"].partition(":")
            data = storage / "blobs" / algorithm / digest[:2] / digest / "data"
            link = storage / "repositories" / repository / "_layers" / algorithm / digest / "link"
            for file in (data, link):
                file.parent.mkdir(parents=True, exist_ok=True)
            if not data.exists():
                data.hardlink_to(_blob(layer["digest"]))
            link.write_text(layer["digest"])

    def layers(self, reference: str) -> list[str]:
        """Return the digests of the layers of an image."""
        return [layer["digest"] for layer in json.loads(self.run("crane", "manifest", reference))["layers"]]

    def pulled(self) -> set[str]:
        """Return what containerd has got: ``REPOSITORY@DIGEST`` of manifests and blobs."""
        text = (self.folder / "log").read_text()
        pattern = r'"GET /v2/(\S+)/(?:manifests|blobs)/(sha256:\w+) HTTP/1.1" 200 .*"containerd/'
        return {f"{repository}@{digest}" for repository, digest in re.findall(pattern, text)}


def _blob(digest: str) -> Path:
    return LAYOUT / "blobs" / digest.replace(":", "/")


@contextmanager
def registry(program: str = "registry") -> Iterator[Registry]:
    """Run a registry on a free port of loopback, on the disk of the cache."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    (CACHE / "integrations").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE / "integrations", prefix="registry-data-") as name:
        folder = Path(name)
        (folder / "htpasswd").write_text(HTPASSWD)
        configuration = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": host},
            "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
        }
        (folder / "configuration.yaml").write_text(json.dumps(configuration))
        with (folder / "log").open("w") as log:
            command = [program, "serve", str(folder / "configuration.yaml")]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                _wait(f"http://{host}/v2/", process, folder / "log")
                yield Registry(host, folder)
            finally:
                process.terminate()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the registry asks for a user."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == HTTPStatus.UNAUTHORIZED:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the registry does not start: {log.read_text()}")
