"""Experiment trackers that get the numbers of a training: MLflow and TensorBoard.

A tracker never delays or fails the training. Each has a background thread; what it has not taken yet is kept and sent
again, and the first failure is logged as a warning.
"""

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from fusionrun.api.artifacts import LOGS
from fusionrun.api.spec.training import Tracker as TrackerName
from fusionrun.api.tasks.training import TrainParameters
from fusionrun_stages.training.mlflow_run import MlflowRun
from fusionrun_stages.training.ranks import rank
from fusionrun_stages.training.tensorboard import TensorBoardFiles
from fusionrun_stages.work import Work

log = logging.getLogger("fusionrun_stages")

KEPT_ENTRIES = 10_000
"""Steps that are kept for a tracker that is down; then the oldest are dropped. The recipe has some 2,700 steps."""
SEND_SECONDS = 5.0
"""Time between two sends: a step may be short."""
RETRY_SECONDS = 30.0
"""Time after a failure until the next attempt."""
CLOSE_SECONDS = 20.0
"""Maximum time to send the last entries."""


class Entry(NamedTuple):
    """The numbers of one step."""

    step: int
    milliseconds: int
    """Unix time."""
    numbers: Mapping[str, float]


class Tracker(Protocol):
    """A program or service that shows the numbers. Its methods may block, and may raise any Exception."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Take the numbers of some steps; after an error the same ones come again."""

    def close(self, *, succeeded: bool) -> None:
        """Take the end of the training."""


class Sender:
    """The thread that passes entries to one tracker."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker = name, tracker
        self._entries: deque[Entry] = deque(maxlen=KEPT_ENTRIES)
        self._changed = threading.Condition()
        self._succeeded: bool | None = None
        """How the training ended; None while it runs."""
        self._warned = False
        self._thread = threading.Thread(target=self._run, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Store an entry; the thread sends it."""
        with self._changed:
            self._entries.append(entry)
            self._changed.notify()

    def end(self, *, succeeded: bool) -> None:
        """Tell the thread to send the last entries and to end."""
        with self._changed:
            self._succeeded = succeeded
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread, and warn if it has not sent everything."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive() or self._entries:
            log.warning("%s: the last steps were not sent", self._name)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._entries or self._succeeded is not None)
                entries, ended = list(self._entries), self._succeeded
            try:
                if entries:
                    self._tracker.send(entries)
                    self._forget(entries)
                if ended is not None:
                    self._tracker.close(succeeded=ended)
                    return
                self._wait(SEND_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever a tracker raises must not reach the training
                self._warn(error)
                if ended is not None:
                    return
                self._wait(RETRY_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Wait until the training ends, but not longer than this."""
        with self._changed:
            self._changed.wait_for(lambda: self._succeeded is not None, seconds)

    def _forget(self, sent: Sequence[Entry]) -> None:
        with self._changed:
            while self._entries and self._entries[0].step <= sent[-1].step:
                self._entries.popleft()

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning("%s does not take the numbers of this training, which continues: %s", self._name, error)
        self._warned = True


class Trackers:
    """The trackers of one training; there may be none."""

    def __init__(self, senders: Sequence[Sender] = ()) -> None:
        self._senders = list(senders)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Pass on the finite numbers of a step. Returns at once."""
        finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
        for sender in self._senders:
            sender.put(Entry(step, time.time_ns() // 1_000_000, finite))

    def close(self, *, succeeded: bool) -> None:
        """Send what is left; return after at most ``CLOSE_SECONDS``."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for sender in self._senders:
            sender.end(succeeded=succeeded)
        for sender in self._senders:
            sender.join(deadline - time.monotonic())


@contextlib.contextmanager
def open_trackers(work: Work, parameters: TrainParameters) -> Iterator[Trackers]:
    """Open the trackers of a training on rank 0, and close them when it ends, in whatever way."""
    openers: dict[TrackerName, Callable[[], Tracker]] = {}
    if rank() == 0:
        openers[TrackerName.TENSORBOARD] = lambda: TensorBoardFiles(work.output / LOGS / "tensorboard")
        if parameters.mlflow is not None:
            settings = parameters.mlflow
            openers[TrackerName.MLFLOW] = lambda: MlflowRun(settings, work.task, hyperparameters(parameters))
    wanted = [name for name in TrackerName if name in parameters.report_to and name in openers]
    trackers = Trackers([Sender(name.value, openers[name]()) for name in wanted])
    succeeded = False
    try:
        yield trackers
        succeeded = True
    finally:
        trackers.close(succeeded=succeeded)


NO_HYPERPARAMETERS = {"kind", "model_path", "data_path", "report_to", "mlflow"}


def hyperparameters(parameters: TrainParameters) -> dict[str, str]:
    """Return the hyperparameters of a training as texts, by the names of the spec."""
    values = parameters.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=NO_HYPERPARAMETERS)
    return {name: str(value) for name, value in values.items()}
