"""Where the images go: the local cluster's containerd, a kind cluster, or a registry."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from builder import Builder
from image_set import REPOSITORY
from layout import Layout, chain_ids

SETTINGS = REPOSITORY / "hack" / "cluster" / "local" / "settings.sh"
# Smaller layers are not worth a shared tree.
SHARED_LAYER_BYTES = 50_000_000
VIEW_ATTEMPTS = 5
# How many builds stay in containerd: each beyond the first costs the wheel's layers, some 20 MB.
LOADS_KEPT = 3


class DestinationError(Exception):
    """What a person must change before the images can be loaded."""


class Destination(Protocol):
    """What takes images."""

    def holds(self, wanted: dict[str, str]) -> bool:
        """Say whether all the images are there already."""
        ...

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names by which pods find the images."""
        ...

    def load(self, layout: Layout, builder: Builder, wanted: dict[str, str], say: Callable[[str], None]) -> None:
        """Bring the images in."""
        ...

    def share(self, layout: Layout, builder: Builder, say: Callable[[str], None]) -> None:
        """Give back the disk of what is now stored twice."""
        ...


def choose(cache: Path) -> Destination:
    """Return the destination that CLUSTER names."""
    cluster = os.environ.get("CLUSTER") or "local"
    if cluster == "local":
        return LocalCluster(cache)
    if cluster == "kind":
        return Kind(os.environ.get("KIND_CLUSTER") or "fusionrun", cache)
    if cluster == "existing":
        return Registry(os.environ.get("REGISTRY", ""), cache)
    raise DestinationError(f"CLUSTER={cluster} is none of local, kind, existing")


class LocalCluster:
    """The containerd of hack/cluster: a layer travels once, and lies on the disk once per form.

    The builder's copy of a layer's files becomes hard links to containerd's snapshot, and the layout's blob a hard
    link to containerd's blob: neither is ever written to again, so a rebuild starts at once and costs no disk.
    """

    def __init__(self, cache: Path) -> None:
        self.loads = cache / "loads.json"
        script = f'source "{SETTINGS}" && echo "$CONTAINERD_SOCKET" && echo "$CONTAINERD_ROOT"'
        printed = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
        socket, root = printed.splitlines()
        self.socket, self.root = Path(socket), Path(root)

    def holds(self, wanted: dict[str, str]) -> bool:
        """Ask containerd for the names of its images."""
        return self.socket.exists() and set(wanted.values()) <= set(self._ctr("images", "ls", "-q").split())

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names as they are."""
        return wanted

    def load(self, layout: Layout, _builder: Builder, wanted: dict[str, str], say: Callable[[str], None]) -> None:
        """Stream an archive without the layers that containerd has."""
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
            raise DestinationError("containerd refused the images (the lines above say why)")
        say(f"loaded {len(wanted)} images, {sent / 1e6:.0f} MB sent")
        self._forget_others(wanted)

    def share(self, layout: Layout, builder: Builder, say: Callable[[str], None]) -> None:
        """Replace the builder's and the layout's copies of big layers by hard links to containerd's."""
        trees = builder.layer_trees()
        done: set[str] = set()
        for reference in layout.references():
            diff_ids = layout.diff_ids(reference)
            for digest, diff_id, chain_id in zip(layout.layers(reference), diff_ids, chain_ids(diff_ids), strict=True):
                size = layout.blob(digest).stat().st_size
                if size < SHARED_LAYER_BYTES or chain_id in done:
                    continue
                done.add(chain_id)
                content = self.root / "io.containerd.content.v1.content" / "blobs" / digest.replace(":", "/")
                if layout.share_blob(digest, content):
                    say(f"shares a blob of {size / 1e9:.1f} GB with containerd")
                if diff_id in trees and share_tree(trees[diff_id], self._snapshot_tree(chain_id)):
                    say(f"shares the files of a layer of {size / 1e9:.1f} GB with containerd")

    def _snapshot_tree(self, chain_id: str) -> Path:
        """Return the folder in which containerd unpacked a layer."""
        # `mount -t overlay overlay TARGET -o ...,lowerdir=TOP:BELOW:...`, or a bind mount of the only layer
        mount = self._view_mount(chain_id).split()
        for option in mount[-1].split(","):
            if option.startswith("lowerdir="):
                return Path(option.removeprefix("lowerdir=").split(":")[0])
        return Path(mount[3])

    def _view_mount(self, chain_id: str) -> str:
        """Return the mount command of a view on a snapshot; containerd may collect the view at any moment."""
        for attempt in range(1, VIEW_ATTEMPTS + 1):
            key = f"fusionrun-view-{os.getpid()}-{attempt}"
            try:
                self._ctr("snapshots", "view", key, chain_id)
                return self._ctr("snapshots", "mounts", "/mnt", key)
            except subprocess.CalledProcessError:
                if attempt == VIEW_ATTEMPTS:
                    raise
            finally:
                command = [*self._ctr_command(), "snapshots", "rm", key]
                subprocess.run(command, check=False, capture_output=True)
        raise AssertionError("the last attempt returns or raises")

    def _forget_others(self, wanted: dict[str, str]) -> None:
        """Remove early builds from containerd; a run that is under way may still start pods from a recent one."""
        loads = json.loads(self.loads.read_text()) if self.loads.exists() else []
        loads = [sorted(wanted.values()), *(load for load in loads if load != sorted(wanted.values()))][:LOADS_KEPT]
        self.loads.write_text(json.dumps(loads))
        kept = {name for load in loads for name in load}
        repositories = {name.rsplit(":", 1)[0] for name in kept}
        present = self._ctr("images", "ls", "-q").split()
        stale = [name for name in present if name.rsplit(":", 1)[0] in repositories and name not in kept]
        if stale:
            self._ctr("images", "rm", *stale)

    def _ctr(self, *words: str) -> str:
        return output(*self._ctr_command(), *words)

    def _ctr_command(self) -> list[str]:
        return ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]


class Kind:
    """A kind cluster: its nodes import one archive with all the images."""

    def __init__(self, name: str, cache: Path) -> None:
        self.name, self.cache = name, cache
        if not shutil.which("kind"):
            raise DestinationError("CLUSTER=kind needs the program kind on the PATH")

    def holds(self, wanted: dict[str, str]) -> bool:
        """Ask each node's containerd for the names of its images."""
        nodes = output("kind", "get", "nodes", "--name", self.name).split()
        asked = [output("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q") for node in nodes]
        return bool(nodes) and all(set(wanted.values()) <= set(names.split()) for names in asked)

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names as they are."""
        return wanted

    def load(self, layout: Layout, _builder: Builder, wanted: dict[str, str], say: Callable[[str], None]) -> None:
        """Pack everything, as kind gives the archive to each node's containerd as it is."""
        with tempfile.NamedTemporaryFile(dir=self.cache, suffix=".tar") as archive:
            layout.write_archive(sorted(wanted.values()), set(), archive)
            archive.flush()
            subprocess.run(["kind", "load", "image-archive", archive.name, "--name", self.name], check=True)
        say(f"loaded {len(wanted)} images into kind cluster {self.name}")

    def share(self, layout: Layout, builder: Builder, say: Callable[[str], None]) -> None:
        """Leave the copies: kind's nodes store theirs inside Docker."""


class Registry:
    """A registry that the user's cluster pulls from."""

    def __init__(self, registry: str, cache: Path) -> None:
        if not registry:
            raise DestinationError(
                "CLUSTER=existing needs REGISTRY, a registry and path that you may push to and the cluster may pull "
                "from (REGISTRY=HOST/PATH); log in with `buildah login` before"
            )
        self.registry, self.cache = registry.rstrip("/"), cache

    def holds(self, wanted: dict[str, str]) -> bool:
        """Compare with the note of the last push."""
        return self._note().exists() and self._note().read_text().splitlines() == self._pushed(wanted)

    def references(self, wanted: dict[str, str]) -> dict[str, str]:
        """Return the names in the registry."""
        return {name: f"{self.registry}/fusionrun-{name}:{ref.rsplit(':', 1)[1]}" for name, ref in wanted.items()}

    def load(self, _layout: Layout, builder: Builder, wanted: dict[str, str], say: Callable[[str], None]) -> None:
        """Push from the builder's store; the registry takes each layer once."""
        for name, target in self.references(wanted).items():
            builder.push_to_registry(wanted[name], target)
            say(f"pushed {target}")
        self._note().write_text("\n".join(self._pushed(wanted)))

    def share(self, layout: Layout, builder: Builder, say: Callable[[str], None]) -> None:
        """Leave the copies: the registry's are elsewhere."""

    def _pushed(self, wanted: dict[str, str]) -> list[str]:
        return sorted(self.references(wanted).values())

    def _note(self) -> Path:
        return self.cache / "registry.pushed"


def output(*command: str) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def share_tree(tree: Path, twin: Path) -> bool:
    """Replace a folder by hard links to its twin, and say whether that changed anything.

    Both were unpacked from the same tar. Overlay mounts use them as lower layers, which nothing writes to.
    """
    if tree.stat().st_dev != twin.stat().st_dev or is_linked(tree, twin):
        return False
    part = tree.with_name("diff.part")
    if part.exists():
        shutil.rmtree(part)
    subprocess.run(["cp", "--archive", "--link", str(twin), str(part)], check=True)
    old = tree.with_name("diff.old")
    tree.rename(old)
    part.rename(tree)
    shutil.rmtree(old)
    return True


def is_linked(tree: Path, twin: Path) -> bool:
    """Say whether the first regular file of a folder is the same file in its twin."""
    for folder, _, files in os.walk(tree):
        for name in files:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                return path.samefile(twin / path.relative_to(tree))
    return True
