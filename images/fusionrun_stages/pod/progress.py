"""Progress reports to the operator, sent by a background thread.

Best effort: a report may be lost, and an error does not delay or fail the stage. Only the standard library is used,
since every image has this module.
"""

import http.client
import threading
import time
from contextlib import closing, suppress
from itertools import islice
from urllib.parse import urlsplit

from fusionrun.api.pod import PROGRESS_PATH
from fusionrun.api.records import replace_surrogates
from fusionrun.api.results.result import COUNT_MAX, NAME_MAX, NUMBERS_MAX, Progress
from fusionrun.api.storable import NUMBER_MAX

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 2.0


def bounded(done: int, total: int, unit: str, numbers: dict[str, float]) -> Progress:
    """Return a Progress that the operator accepts; a number that it would refuse is left out: a loss may diverge."""
    kept = {
        name: number
        for name, number in numbers.items()
        if len(name) <= NAME_MAX and -NUMBER_MAX <= number <= NUMBER_MAX
    }
    return Progress(
        done=min(max(done, 0), COUNT_MAX),
        total=min(max(total, 0), COUNT_MAX),
        unit=replace_surrogates(unit)[:NAME_MAX],
        numbers=dict(islice(kept.items(), NUMBERS_MAX)),
    )


class Pusher:
    """A ``Report`` that posts the newest progress to a URL, at most once per ``INTERVAL_SECONDS``.

    ``url`` is the operator's, with or without ``PROGRESS_PATH``; if it is empty, nothing is sent.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._newest: Progress | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._push, name="progress", daemon=True)
        if url:
            self._thread.start()

    def __call__(self, done: int, total: int, unit: str = "", **numbers: float) -> None:
        """Store the newest progress; the background thread sends it."""
        if not self._url:
            return
        try:
            progress = bounded(done, total, unit, numbers)
        except ValueError:
            return
        with self._changed:
            self._newest = progress
            self._changed.notify()

    def close(self) -> None:
        """Send the last value, if any, and stop; return after at most ``TIMEOUT_SECONDS``."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._url:
            self._thread.join(TIMEOUT_SECONDS)

    def _push(self) -> None:
        last = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closing)
                self._changed.wait_for(lambda: self._closing, last + INTERVAL_SECONDS - time.monotonic())
                progress, self._newest = self._newest, None
                closing = self._closing
            if progress is not None:
                last = time.monotonic()
                self._post(progress)
            if closing:
                return

    def _post(self, progress: Progress) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            address = urlsplit(self._url)
            secure = address.scheme == "https"
            connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            with closing(connect(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)) as connection:
                path = address.path if address.path.strip("/") else PROGRESS_PATH
                body = progress.model_dump_json()
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                connection.getresponse().read()
