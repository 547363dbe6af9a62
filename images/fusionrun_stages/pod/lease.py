"""The lease of an artifact: at most one pod produces it at a time.

Runs with the same stage digest share its directory, and a force-deleted pod may still run on a lost node. So a pod
acquires ``lease.json`` in the directory (one per shard of an Indexed stage) before it starts, and touches the file
while it runs. The pod of another run waits until the artifact is complete, or the lease was not touched for
``STALE_SECONDS``: then its holder has died. A successor in the same stage of the same run does not wait: its
predecessor has died, or detects the loss of the lease at its next touch, and exits.

Ages are differences between file times, so they use the volume's clock, not the node's.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fusionrun_stages.volume.atomic import remove_partials

log = logging.getLogger(__name__)

TOUCH_SECONDS = 5.0
STALE_SECONDS = 120.0
"""Age at which a lease is stale. Longer than NFS caches a file's attributes (``acregmax``, 60 s)."""
POLL_SECONDS = 1.0
SETTLE_SECONDS = 0.5
"""If two pods replace a stale lease, the last one holds it after this time."""


@dataclass(frozen=True)
class Holder:
    """The pod that holds a lease."""

    stage: str
    """Namespace, run and stage; and, after ``#``, the number of a pod that takes shards in turn. At most one pod runs
    per stage, rank and shard, or per number."""
    pod_uid: str


UNKNOWN_HOLDER = Holder("", "")
"""Holder of a lease that is being written."""


def holder_of(path: Path) -> Holder | None:
    """Return the holder of a lease, or None."""
    try:
        content = json.loads(path.read_bytes())
        return Holder(content["stage"], content["pod_uid"])  # ignore the fields of newer releases
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError):
        return UNKNOWN_HOLDER


class Lease:
    """The lease of one artifact, or of one shard of it, in the file ``path``.

    ``on_wait`` is called at each poll while another pod holds the lease; ``on_loss`` in a background thread when
    another pod has taken the lease from this one: this pod must exit at once.
    """

    def __init__(
        self,
        path: Path,
        this_pod: Holder,
        is_complete: Callable[[], bool],
        on_wait: Callable[[Holder], None],
        on_loss: Callable[[], None],
    ) -> None:
        self._path, self._this_pod = path, this_pod
        self._is_complete, self._on_wait, self._on_loss = is_complete, on_wait, on_loss
        self._part = path.with_name(f".{path.name}.{this_pod.pod_uid}.part")
        self._ended = threading.Event()
        self._held = False

    def take(self) -> None:
        """Return when this pod holds the lease, or the artifact is complete."""
        while not self._is_complete():
            if self.try_take():
                return
            time.sleep(POLL_SECONDS)
        self.remove_left()

    def remove_left(self) -> None:
        """Remove the lease of a complete artifact if a predecessor of this pod was killed before it released it."""
        holder = self.holder()
        if holder is not None and holder.stage == self._this_pod.stage:
            self._path.unlink(missing_ok=True)
            remove_partials(self._path)

    def try_take(self) -> bool:
        """Return whether this pod holds the lease now. Do not wait for another pod."""
        if not self._try():
            return False
        log.info("%s: acquired", self._path)
        self._held = True
        threading.Thread(target=self._keep_touching, name="lease", daemon=True).start()
        return True

    def holder(self) -> Holder | None:
        """Return the holder of the lease, or None."""
        return holder_of(self._path)

    def follow(self) -> None:
        """Return when rank 0 of this stage holds the lease, or the artifact is complete: for all other ranks."""
        while not self._is_complete():
            holder = holder_of(self._path)
            if holder is not None and holder.stage == self._this_pod.stage:
                return
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Release the lease; do nothing if this pod does not hold it."""
        self._ended.set()
        if self._held:
            self._held = False
            if holder_of(self._path) == self._this_pod:
                self._path.unlink(missing_ok=True)
            remove_partials(self._path)

    def _try(self) -> bool:
        if self._create():
            return True
        holder = holder_of(self._path)
        if holder is None:
            return False
        if holder.stage == self._this_pod.stage:
            return self._replace()
        if not self._is_stale():
            self._on_wait(holder)
            return False
        log.warning("%s: %s has not touched it for %.0f s: taken over", self._path, holder, STALE_SECONDS)
        if not self._replace():
            return False
        time.sleep(SETTLE_SECONDS)
        return holder_of(self._path) == self._this_pod

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self._this_pod), file)
        return True

    def _replace(self) -> bool:
        """Replace the lease; return False if a pod that released it has removed the temporary file."""
        self._part.write_text(json.dumps(asdict(self._this_pod)))
        try:
            self._part.replace(self._path)
        except FileNotFoundError:
            return False
        return True

    def _is_stale(self) -> bool:
        try:
            self._part.touch()
            return self._part.stat().st_mtime - self._path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            return False
        finally:
            self._part.unlink(missing_ok=True)

    def _keep_touching(self) -> None:
        while not self._ended.wait(TOUCH_SECONDS):
            try:
                if holder_of(self._path) != self._this_pod:
                    if not self._ended.is_set():
                        self._on_loss()
                    return
                os.utime(self._path)
            except OSError as error:
                log.warning("%s: cannot be touched: %s", self._path, error)
