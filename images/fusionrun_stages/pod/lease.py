"""The lease of an artifact: at most one pod produces it at a time.

Runs with the same stage digest share its directory, and a force-deleted pod may still run on a lost node. So a pod
acquires ``lease.json`` in the directory (one per shard of an Indexed stage) before it works, and touches it while it
works. The pod of another run waits until the artifact is complete, or the lease was not touched for ``STALE_SECONDS``:
then its holder is dead. A successor in the same stage of the same run does not wait: its predecessor is dead, or finds
at its next touch that it has lost the lease, and exits.

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
"""Two pods that find a stale lease both replace it. After this time the last one holds it."""


@dataclass(frozen=True)
class Holder:
    """The pod that holds a lease."""

    stage: str
    """Namespace, run and stage. At most one pod of it runs, per rank and shard."""
    pod_uid: str


UNKNOWN_HOLDER = Holder("", "")
"""Holder of a lease that is being written."""


def holder_of(path: Path) -> Holder | None:
    """Return the holder of a lease, or None."""
    try:
        found = json.loads(path.read_bytes())
        return Holder(found["stage"], found["pod_uid"])  # ignore the fields of newer releases
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError):
        return UNKNOWN_HOLDER


class Lease:
    """The lease of one artifact, or of one shard of it.

    Parameters
    ----------
    path
        The lease file.
    own
        This pod.
    is_complete
        Returns whether the artifact is complete; no lease is needed then.
    on_wait
        Called at each poll while another pod holds the lease.
    on_loss
        Called in a background thread when another pod has taken the lease: this pod must exit at once.
    """

    def __init__(
        self,
        path: Path,
        own: Holder,
        is_complete: Callable[[], bool],
        on_wait: Callable[[Holder], None],
        on_loss: Callable[[], None],
    ) -> None:
        self._path, self._own = path, own
        self._is_complete, self._on_wait, self._on_loss = is_complete, on_wait, on_loss
        self._ended = threading.Event()
        self._held = False

    def take(self) -> None:
        """Return when this pod holds the lease, or the artifact is complete."""
        while not self._is_complete():
            if self._try():
                log.info("%s: acquired", self._path)
                self._held = True
                threading.Thread(target=self._keep_touching, name="lease", daemon=True).start()
                return
            time.sleep(POLL_SECONDS)

    def follow(self) -> None:
        """Return when rank 0 of this stage holds the lease, or the artifact is complete: for all other ranks."""
        while not self._is_complete():
            holder = holder_of(self._path)
            if holder is not None and holder.stage == self._own.stage:
                return
            time.sleep(POLL_SECONDS)

    def release(self) -> None:
        """Release the lease; do nothing if this pod does not hold it."""
        self._ended.set()
        if self._held:
            self._held = False
            if holder_of(self._path) == self._own:
                self._path.unlink(missing_ok=True)
            remove_partials(self._path)

    def _try(self) -> bool:
        if self._create():
            return True
        holder = holder_of(self._path)
        if holder is None:
            return False
        if holder.stage == self._own.stage:
            return self._replace()
        if not self._is_stale():
            self._on_wait(holder)
            return False
        log.warning("%s: %s has not touched it for %.0f s: taken over", self._path, holder, STALE_SECONDS)
        if not self._replace():
            return False
        time.sleep(SETTLE_SECONDS)
        return holder_of(self._path) == self._own

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self._own), file)
        return True

    def _replace(self) -> bool:
        """Replace the lease; return False if a pod that released it has removed the temporary file."""
        part = self._part
        part.write_text(json.dumps(asdict(self._own)))
        try:
            part.replace(self._path)
        except FileNotFoundError:
            return False
        return True

    @property
    def _part(self) -> Path:
        return self._path.with_name(f".{self._path.name}.{self._own.pod_uid}.part")

    def _is_stale(self) -> bool:
        probe = self._part
        try:
            probe.touch()
            return probe.stat().st_mtime - self._path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            return False
        finally:
            probe.unlink(missing_ok=True)

    def _keep_touching(self) -> None:
        while not self._ended.wait(TOUCH_SECONDS):
            try:
                if holder_of(self._path) != self._own:
                    if not self._ended.is_set():
                        self._on_loss()
                    return
                os.utime(self._path)
            except OSError as error:
                log.warning("%s: cannot be touched: %s", self._path, error)
