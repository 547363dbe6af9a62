"""Values that depend only on the spec and the accepted data of a run, which rarely change: computed once.

The owner of a ``RunCache`` keeps it between the decisions on one run. A decision with an empty one is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
        if kept is None or kept[0] != inputs:
            kept = self._kept[name] = inputs, compute()
        value: T = kept[1]
        return value
