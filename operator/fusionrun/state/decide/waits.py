"""Messages of stages that wait for others: for which, and until about when, as far as that is known."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from fusionrun.plan.stages import Stage
from fusionrun.state.decide.context import Context, Outcomes
from fusionrun.state.report.stage_status import DONE

QUANTUM = timedelta(minutes=10)
"""Expected times in messages are multiples of this, so that they seldom change."""
LISTED = 3
"""Largest number of stages in a message."""


def about(now: datetime, seconds: float) -> str:
    """Return a time as text, rounded up."""
    time = (now + timedelta(seconds=seconds)).astimezone(UTC)
    late = (time - datetime.min.replace(tzinfo=UTC)) % QUANTUM
    return f"{time + QUANTUM - late if late else time:%Y-%m-%d %H:%M} UTC"


def for_needs(context: Context, stage: Stage, before: Outcomes) -> str:
    """Return which stages must end before a stage can start; with the time, if their pods report their progress."""
    texts = [*_missing(context, stage.needs, before)]
    if not texts:  # the result of ``resolve`` is missing
        return ""
    more = len(texts) - LISTED
    return f"waits for {', '.join(texts[:LISTED])}{f' and {more} more' if more > 0 else ''}"


def _missing(context: Context, names: Sequence[str], before: Outcomes) -> Iterator[str]:
    for name in names:
        if before.state(name) not in DONE:
            left = before.stages[name].status.eta_seconds or 0
            ends = f" until about {about(context.now, left)}" if left > QUANTUM.total_seconds() else ""
            yield name + ends


def for_server(server: str, before: Outcomes) -> str:
    """Return what a client waits for: its server, and why that is not Ready."""
    status = before.stages[server].status
    return f"waits for {server}: {status.message or status.reason or status.state}"
