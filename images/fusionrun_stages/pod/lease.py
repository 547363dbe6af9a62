"""Who makes an artifact: one pod at a time, however many runs ask for it.

Runs that share a stage's digest share its directory, and a pod that was deleted by force may still live on a node that
was lost. So a pod takes ``lease.json`` in the directory (of an Indexed stage one for each shard) before it works, and
touches it while it does. Another run's pod waits until the artifact is there or the lease was not touched for so long
that its holder must be dead. A successor in the same stage of the same run does not wait: there is one at a time, so
its predecessor is dead, or finds at its next touch that the lease is another's, and ends.

Ages are told by the volume's own clock, not by this machine's: both ends of a comparison are a file's time.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fusionrun_stages.volume.atomic import forget_parts

log = logging.getLogger(__name__)

TOUCH_SECONDS = 5.0
STALE_SECONDS = 120.0
"""So long without a touch, and the holder is dead. Longer than NFS keeps a file's attributes (``acregmax``, 60 s)."""
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 0.5
"""Two that find a dead one's lease at once both put theirs in its place; so much later the last one's stands."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    stage: str
    """Stage and run: what has at most one living pod, by rank and shard."""
    pod_uid: str


UNKNOWN_HOLDER = Holder("", "")
"""Who holds a lease that is just being written."""


def holder_of(path: Path) -> Holder | None:
    """Return who holds a lease, None where nobody does."""
    try:
        found = json.loads(path.read_bytes())
        return Holder(found["stage"], found["pod_uid"])  # another release may have written more
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError):
        return UNKNOWN_HOLDER


class Lease:
    """The lease of one artifact, or of one shard of it.

    Parameters
    ----------
    path
        The file.
    own
        Who this is.
    is_complete
        Tells whether the artifact is there: nobody needs the lease then.
    on_wait
        Called again and again while another holds the lease.
    on_loss
        Called, in a thread of its own, when the lease has become another's: this pod must end at once.
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
        """Return when this pod holds the lease, or needs none since the artifact is complete."""
        while not self._is_complete():
            if self._try():
                log.info("%s is ours", self._path)
                self._held = True
                threading.Thread(target=self._touch_for_ever, name="lease", daemon=True).start()
                return
            time.sleep(LOOK_SECONDS)

    def follow(self) -> None:
        """Return when this stage of this run holds the lease, or the artifact is complete: what other ranks do."""
        while not self._is_complete():
            holder = holder_of(self._path)
            if holder is not None and holder.stage == self._own.stage:
                return
            time.sleep(LOOK_SECONDS)

    def release(self) -> None:
        """Give the lease back; harmless where it is not held."""
        self._ended.set()
        if self._held:
            self._held = False
            if holder_of(self._path) == self._own:
                self._path.unlink(missing_ok=True)
            forget_parts(self._path)

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
        """Put our lease in another's place; False where a pod that gave its own back has swept the part away."""
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

    def _touch_for_ever(self) -> None:
        while not self._ended.wait(TOUCH_SECONDS):
            try:
                if holder_of(self._path) != self._own:
                    if not self._ended.is_set():
                        self._on_loss()
                    return
                os.utime(self._path)
            except OSError as error:
                log.warning("%s: not touched: %s", self._path, error)
