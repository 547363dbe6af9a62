"""The targets of the images: the local cluster's containerd, a kind cluster, or a registry."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from builder import Builder
from image_set import REPOSITORY
from layout import Layout

SETTINGS = REPOSITORY / "hack" / "cluster" / "local" / "settings.sh"
# The number of builds that containerd keeps. Each after the first adds the layers of the wheel, about 20 MB.
LOADS_KEPT = 3


class DestinationError(Exception):
    """A condition that prevents loading the images, with the remedy."""


def choose(cache: Path) -> "LocalCluster | Kind | Registry":
    """Return the target that CLUSTER selects."""
    cluster = os.environ.get("CLUSTER") or "local"
    if cluster == "local":
        return LocalCluster(cache)
    if cluster == "kind":
        return Kind(os.environ.get("KIND_CLUSTER") or "fusionrun", cache)
    if cluster == "existing":
        return Registry(os.environ.get("REGISTRY", ""), cache)
    raise DestinationError(f"CLUSTER={cluster} is not one of local, kind, existing")


class LocalCluster:
    """The containerd of hack/cluster."""

    def __init__(self, cache: Path) -> None:
        self.loads = cache / "loads.json"
        script = f'source "{SETTINGS}" && echo "$CONTAINERD_SOCKET" && echo "$CONTAINERD_ROOT"'
        printed = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
        socket, root = printed.splitlines()
        self.socket, self.root = Path(socket), Path(root)

    def holds(self, wanted: dict[str, str]) -> bool:
        """Compare with the names of containerd's images."""
        return self.socket.exists() and set(wanted.values()) <= set(self._ctr("images", "ls", "-q").split())

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names unchanged."""
        return wanted

    def load(self, layout: Layout, _builder: Builder, wanted: dict[str, str], log: Callable[[str], None]) -> None:
        """Import an archive without the layers that containerd already has."""
        if not self.socket.exists():
            raise DestinationError(
                "the images are built, but the local cluster is not up "
                f"({self.socket} is absent): run hack/cluster/up, then this again"
            )
        known = set(self._ctr("content", "ls", "-q").split())
        command = [*self._ctr_command(), "images", "import", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as importing:
            assert importing.stdin
            try:
                sent = layout.write_archive(sorted(wanted.values()), known, importing.stdin)
            finally:
                importing.stdin.close()
        if importing.returncode:
            raise DestinationError("containerd rejected the images (see the output above)")
        log(f"loaded {len(wanted)} images, {sent / 1e6:.0f} MB sent")
        self._link_layers(layout)
        self._forget_others(wanted)

    def _link_layers(self, layout: Layout) -> None:
        """Replace the layout's blobs by hard links to containerd's, neither of which is written again.

        Measured: 7.3 GiB less disk. Unpacked layers are stored twice, in the builder and in containerd (7.5 GiB each).
        """
        blobs = self.root / "io.containerd.content.v1.content" / "blobs"
        for digest in {layer for reference in layout.references() for layer in layout.layers(reference)}:
            layout.link_blob(digest, blobs / digest.replace(":", "/"))

    def _forget_others(self, wanted: dict[str, str]) -> None:
        """Remove old builds from containerd. Recent ones stay, since an unfinished run may start pods of its image."""
        loads = json.loads(self.loads.read_text()) if self.loads.exists() else []
        loads = [sorted(wanted.values()), *(load for load in loads if load != sorted(wanted.values()))][:LOADS_KEPT]
        self.loads.write_text(json.dumps(loads))
        kept = {name for load in loads for name in load}
        repositories = {name.rsplit(":", 1)[0] for name in kept}
        present = self._ctr("images", "ls", "-q").split()
        stale = [name for name in present if name.rsplit(":", 1)[0] in repositories and name not in kept]
        if stale:
            self._ctr("images", "rm", *stale)

    def _ctr(self, *arguments: str) -> str:
        return output(*self._ctr_command(), *arguments)

    def _ctr_command(self) -> list[str]:
        return ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]


class Kind:
    """A kind cluster. Its nodes import one archive with all images."""

    def __init__(self, name: str, cache: Path) -> None:
        self.name, self.cache = name, cache
        if not shutil.which("kind"):
            raise DestinationError("CLUSTER=kind requires the program kind in PATH")

    def holds(self, wanted: dict[str, str]) -> bool:
        """Compare with the names of the images of each node's containerd."""
        nodes = output("kind", "get", "nodes", "--name", self.name).split()
        asked = [output("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q") for node in nodes]
        return bool(nodes) and all(set(wanted.values()) <= set(names.split()) for names in asked)

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names unchanged."""
        return wanted

    def load(self, layout: Layout, _builder: Builder, wanted: dict[str, str], log: Callable[[str], None]) -> None:
        """Load an archive with all layers: kind passes it to each node's containerd unchanged."""
        with tempfile.NamedTemporaryFile(dir=self.cache, suffix=".tar") as archive:
            layout.write_archive(sorted(wanted.values()), set(), archive)
            archive.flush()
            subprocess.run(["kind", "load", "image-archive", archive.name, "--name", self.name], check=True)
        log(f"loaded {len(wanted)} images into kind cluster {self.name}")


class Registry:
    """A registry from which the cluster pulls."""

    def __init__(self, registry: str, cache: Path) -> None:
        if not registry:
            raise DestinationError(
                "CLUSTER=existing requires REGISTRY=HOST/PATH, a registry to which you can push and from which the "
                "cluster can pull; log in with `buildah login` first"
            )
        self.registry, self.cache = registry.rstrip("/"), cache

    def holds(self, wanted: dict[str, str]) -> bool:
        """Compare with the record of the last push."""
        return self._record().exists() and self._record().read_text().splitlines() == self._pushed(wanted)

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names in the registry."""
        return {name: f"{self.registry}/fusionrun-{name}:{ref.rsplit(':', 1)[1]}" for name, ref in wanted.items()}

    def load(self, _layout: Layout, builder: Builder, wanted: dict[str, str], log: Callable[[str], None]) -> None:
        """Push from the builder's store. Layers that the registry has are not sent."""
        for name, target in self.references(wanted).items():
            builder.push_to_registry(wanted[name], target)
            log(f"pushed {target}")
        self._record().write_text("\n".join(self._pushed(wanted)))

    def _pushed(self, wanted: dict[str, str]) -> list[str]:
        return sorted(self.references(wanted).values())

    def _record(self) -> Path:
        return self.cache / "registry.pushed"


def output(*command: str) -> str:
    """Run a command and return its standard output."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
