"""Build and run the stand-in kubelet, and read its timeline."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes.client import Configuration

SOURCES = Path(__file__).parent / "kubelet"
CACHE = Path(os.environ.get("FUSIONRUN_CACHE") or Path.home() / ".cache" / "fusionrun")
GO_PATH = f"{os.environ.get('PATH', '')}:/usr/local/go/bin"
STOP_SECONDS = 10

Entry = dict[str, Any]


def build() -> Path:
    """Return the program of the stand-in, built if the cache lacks it."""
    go = shutil.which("go", path=GO_PATH)
    if go is None:
        raise SystemExit("bench-scale: go not found: install Go 1.24 or newer")
    version = subprocess.run([go, "env", "GOVERSION", "GOARCH"], capture_output=True, check=True).stdout
    sources = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    program = CACHE / "bin" / f"stand-in-kubelet-{hashlib.sha256(version + sources).hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            environment = os.environ | {"CGO_ENABLED": "0", "GOCACHE": f"{folder}/cache", "GOFLAGS": "-trimpath"}
            subprocess.run([go, "build", "-o", f"{folder}/program", "."], cwd=SOURCES, env=environment, check=True)
            Path(folder, "program").rename(program)
    return program


class Timeline:
    """The entries that the stand-in has written (``kubelet/timeline.go``)."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._changed = threading.Condition()
        self._ended = False

    def follow(self, lines: Iterator[str], copy: Path) -> None:
        """Read and copy lines until the end of the stream."""
        with copy.open("a") as file:
            for line in lines:
                file.write(line)
                with self._changed:
                    self.entries.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds, which is checked after each entry; return False on a timeout.

        Raises
        ------
        RuntimeError
            If the stand-in exited.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not reached():
                if self._ended:
                    raise RuntimeError("the stand-in kubelet exited (see its messages above)")
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True


@contextmanager
def running(namespace: str, label: str, nodes: int, script: str, folder: Path) -> Iterator[Timeline]:
    """Run the stand-in kubelet, and yield its timeline, also written to ``folder/timeline.jsonl``."""
    api = Configuration.get_default_copy()
    if not (api.cert_file and api.key_file and api.ssl_ca_cert):
        raise SystemExit("bench-scale: the stand-in kubelet requires a client certificate in the kubeconfig")
    (folder / "script.json").write_text(script)
    options = {
        "server": api.host,
        "ca": api.ssl_ca_cert,
        "cert": api.cert_file,
        "key": api.key_file,
        "namespace": namespace,
        "label": label,
        "nodes": nodes,
        "script": folder / "script.json",
    }
    command = [str(build()), *(f"-{name}={value}" for name, value in options.items())]
    # In another process group, since Ctrl-C must not end it before its pods are deleted. It exits when its standard
    # input is closed, which happens when this process ends.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, process_group=0
    )
    timeline = Timeline()
    assert process.stdout is not None
    reader = threading.Thread(
        target=timeline.follow, args=(iter(process.stdout), folder / "timeline.jsonl"), daemon=True
    )
    reader.start()
    try:
        yield timeline
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        reader.join(STOP_SECONDS)
