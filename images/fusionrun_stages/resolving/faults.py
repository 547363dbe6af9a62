"""Collect the faults of a run's references, so that one message names all of them."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fusionrun_stages.errors import InfrastructureError, UserError, escape_controls

log = logging.getLogger(__name__)

MESSAGE_CHARACTERS = 1024
"""Longest message of a result (``fusionrun.api.results.result``). The log has every fault."""
SEPARATOR = "': "
"""Between a quoted value and the rule that it breaks, in the messages of the stages."""


class Faults:
    """The faults found so far: those that the user must correct, and those that a retry may not have."""

    def __init__(self) -> None:
        self.user: list[str] = []
        self.infrastructure: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Record a StageError of the block instead of raising it."""
        try:
            yield
        except UserError as error:
            self.add(str(error))
        except InfrastructureError as error:
            log.error("%s", escape_controls(str(error)))  # noqa: TRY400 -- the message is the explanation
            self.infrastructure.append(str(error))

    def add(self, fault: str) -> None:
        """Record a fault that the user must correct."""
        log.error("%s", escape_controls(fault))
        self.user.append(fault)

    def raise_all(self) -> None:
        """Raise one error with all faults.

        Raises
        ------
        UserError
            If the user must correct one of them.
        InfrastructureError
            If a retry may succeed.
        """
        if self.user:
            raise UserError(message_of([*self.user, *self.infrastructure]))
        if self.infrastructure:
            raise InfrastructureError(message_of(self.infrastructure))


def message_of(faults: Iterable[str], limit: int = MESSAGE_CHARACTERS) -> str:
    """Return one message of at most ``limit`` characters, and the number of faults that it leaves out.

    Faults with the same rule share it: ``a: 'x', b: 'y': gated``.
    """
    by_rule: dict[str, list[str]] = {}
    for fault in dict.fromkeys(faults):
        where, separator, rule = fault.partition(SEPARATOR)
        by_rule.setdefault(separator + rule, []).append(where)
    items = [(where, rule) for rule, places in by_rule.items() for where in places]
    for kept in range(len(items), 0, -1):
        text = _text(items[:kept], len(items))
        if len(text) <= limit:
            return text
    return _text(items[:1], len(items))[: limit - 1] + "…" if items else ""


def _text(kept: list[tuple[str, str]], total: int) -> str:
    groups: dict[str, list[str]] = {}
    for where, rule in kept:
        groups.setdefault(rule, []).append(where)
    # The quote that ends each value is part of SEPARATOR.
    parts = ["', ".join(places) + rule if rule else "; ".join(places) for rule, places in groups.items()]
    text = "; ".join(parts)
    if total > 1:
        text = f"{total} faults: {text}"
    left = total - len(kept)
    return f"{text}; and {left} more, which the log of the stage lists" if left else text
