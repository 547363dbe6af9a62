from fusionrun.cluster.client import Page
from fusionrun.cluster.warning_events import WarningEvents
from support.async_tests import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


def event(uid, reason, **times):
    return {"metadata": {}, "involvedObject": {"uid": uid}, "reason": reason, "message": "why", **times}


async def test_the_latest_event_of_each_object_is_returned(make):
    pages = [
        [
            event("job-uid", "Old", lastTimestamp="2026-01-01T00:00:00Z"),
            event("job-uid", "New", lastTimestamp=None, eventTime="2026-01-01T00:09:00.000001Z"),
            event("other-uid", "Other", lastTimestamp="2026-01-01T00:10:00Z"),
        ],
        [
            event(
                "job-uid",
                "Again",
                lastTimestamp="2026-01-01T00:00:00Z",
                series={"lastObservedTime": "2026-01-01T00:08:00.5Z"},
            ),
        ],
    ]

    class Lister:
        async def pages(self, *_, **__):
            for items in pages:
                yield Page(items, "1")

    objects = [make.child("Job", "job"), make.child("Job", "quiet")]
    assert await WarningEvents(Lister()).of(objects) == {"job-uid": "New: why"}
    assert await WarningEvents(Lister()).of([]) == {}
