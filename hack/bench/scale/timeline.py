"""The timeline of a measurement: when objects were created, reached a state, and were deleted."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
RUNS = ("FusionRun", "Workflow")
"""Kinds of objects that run all stages."""


class Timeline:
    """The entries so far, in memory and as JSON Lines in a file.

    ``t`` is the Unix time and ``late`` the delay of a report of a simulated kubelet, in seconds. If it is large, the
    kubelets were slow, not the operator.
    """

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._path = path
        self._changed = threading.Condition()
        self._ended = False

    def write(self, kind: str, what: str, manifest: dict[str, Any], late: float = 0.0) -> None:
        """Add an entry. The label of a stage has a dot instead of the slash."""
        name, labels = manifest["metadata"]["name"], manifest["metadata"].get("labels") or {}
        entry = {
            "t": time.time(),
            "kind": kind,
            "what": what,
            "name": name,
            "run": name if kind in RUNS else labels.get("fusionrun.dev/run", ""),
            "stage": labels.get("fusionrun.dev/stage", "").replace(".", "/", 1),
            "attempt": labels.get("fusionrun.dev/attempt", ""),
            "late": late,
        }
        with self._changed:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            self.entries.append(entry)
            self._changed.notify_all()

    def observer(self, kind: str) -> Callable[[str, dict[str, Any]], None]:
        """Return a function that handles the watch events of a kind. It writes each state of an object once."""
        seen: dict[str, set[str]] = defaultdict(set)

        def observe(change: str, manifest: dict[str, Any]) -> None:
            uid = manifest["metadata"]["uid"]
            for what in _states(change, manifest):
                if what not in seen[uid]:
                    seen[uid].add(what)
                    self.write(kind, what, manifest)

        return observe

    def end(self) -> None:
        """Let ``wait`` fail."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds, which is checked after each entry; return False on a timeout.

        Raises
        ------
        RuntimeError
            If the simulated kubelets have stopped.
        """
        with self._changed:
            found = self._changed.wait_for(lambda: self._ended or reached(), seconds)
            if self._ended:
                raise RuntimeError("the simulated kubelets have stopped (see the messages above)")
            return found


def _states(change: str, manifest: dict[str, Any]) -> list[str]:
    """Return the states of an object. Workflows have a phase where Jobs and runs have conditions."""
    status = manifest.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"} | {status.get("phase")}
    states = {
        "created": True,
        "ready": bool(status.get("readyReplicas")),
        "complete": bool(true & {"Complete", "Succeeded"}),
        "failed": bool(true & {"Failed", "Error"}),
        "deleted": change == "DELETED",
    }
    return [name for name, holds in states.items() if holds]
