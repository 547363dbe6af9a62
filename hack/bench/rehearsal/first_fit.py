"""The order to compare with: stages start in the order of the plan as soon as they fit, as in release 0.2.0."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.decide.order import Order
from fusionrun.state.decide.remaining import Remaining


def first_fit(context: Context, outcomes: Outcomes) -> Order:
    """Return the order in place of ``decide.order``."""
    chosen: list[Stage] = []
    remaining = Remaining(context, outcomes)
    for stage in context.pinned.plan.stages:
        if outcomes.stages[stage.name].queued and remaining.have_room([*chosen, stage]):
            chosen.append(stage)
    return Order(tuple(chosen))


@contextmanager
def instead() -> Iterator[None]:
    """Let the operator decide by first fit."""
    with patch("fusionrun.state.decide.stages.order", first_fit):
        yield
