"""Values that depend only on the spec and the accepted data of a run, which rarely change: computed once.

The owner of a ``RunCache`` keeps it between the decisions on one run. A decision with an empty one is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fusionrun.api.contract import Manifest
from fusionrun.api.status.run import FusionRunStatus, read_status

T = TypeVar("T")


@dataclass
class RunCache:
    """The last value of each name, with what it was computed from."""

    _kept: dict[str, tuple[tuple[Any, ...], Any]] = field(default_factory=dict)

    def get(self, name: str, inputs: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """Return the value of a name; compute it if it was computed from other inputs, which are compared with ``==``.

        Nobody may modify the inputs or the value.
        """
        kept = self._kept.get(name)
        value: T = compute() if kept is None or kept[0] != inputs else kept[1]
        self._kept[name] = inputs, value  # the latest of equal inputs: the next ones are often the same objects
        return value


def known_status(cache: RunCache, run: Manifest) -> FusionRunStatus:
    """Return the status of a run; from the cache if it has not changed."""
    return cache.get("status", (run.get("status"),), lambda: read_status(run.get("status")))
