"""A jump of the system clock is ignored until it has lasted for ten minutes."""

from datetime import UTC, datetime, timedelta

import pytest

from fusionrun.cluster.clock import Clock

START = datetime(2026, 1, 2, tzinfo=UTC)


def read(*readings: tuple[float, float]) -> list[float]:
    """Return what a clock shows in seconds, for readings of the monotonic and of the system clock."""
    monotonic = iter([0.0, *(reading[0] for reading in readings)])
    system = iter([START, *(START + timedelta(seconds=reading[1]) for reading in readings)])
    clock = Clock(lambda: next(system), lambda: next(monotonic))
    return [(clock.now() - START).total_seconds() for _ in readings]


@pytest.mark.parametrize(
    ("readings", "shown"),
    [
        ([(1, 1), (61, 61)], [1, 61]),
        ([(10, 50), (20, 30)], [50, 30]),
        ([(1, 108_000), (2, 2)], [1, 2]),
        ([(1, -108_000), (2, 2)], [1, 2]),
        ([(1, 3601), (300, 3900), (600, 4200), (601, 4201), (602, 4202)], [1, 300, 600, 4201, 4202]),
        ([(1, 3601), (300, 300), (650, 4250), (1250, 4850)], [1, 300, 650, 4850]),
    ],
    ids=["no jump", "a small difference", "forward for a second", "backward for a second", "lasting", "twice"],
)
def test_a_jump_is_followed_when_it_has_lasted(readings, shown):
    assert read(*readings) == shown
