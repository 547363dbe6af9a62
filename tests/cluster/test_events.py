import asyncio
from datetime import UTC, datetime

from fusionrun.api.status.conditions import Reason
from fusionrun.cluster.events import CONCURRENCY, MESSAGE_MAX, EventPoster
from fusionrun.state.report.events import Event

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class SlowClient:
    """Blocks every create until ``open`` is set, and counts the blocked ones."""

    def __init__(self):
        self.held = self.most = 0
        self.open = asyncio.Event()
        self.posted = []

    async def create(self, manifest):
        self.held += 1
        self.most = max(self.most, self.held)
        await self.open.wait()
        self.held -= 1
        self.posted.append((manifest["involvedObject"]["name"], manifest["message"]))


async def test_events_of_a_run_are_posted_in_order_and_runs_concurrently(make):
    client = SlowClient()
    events = EventPoster(client)
    runs = [make.run(name=f"run-{i}", uid=f"uid-{i}") for i in range(3 * CONCURRENCY)]
    for number in range(5):
        for run in runs:
            events.post(run, Event("Warning", Reason.STAGE_RETRIED, str(number)), NOW)
    async with asyncio.timeout(2):
        while client.held < CONCURRENCY:  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(0)
    client.open.set()
    await events.drain()
    assert client.most == CONCURRENCY
    for run in runs:
        assert [m for name, m in client.posted if name == run["metadata"]["name"]] == list("01234")


async def test_a_waiting_event_does_not_hold_the_run(make):
    client = SlowClient()
    events = EventPoster(client)
    run = make.run()
    for number in range(2):
        events.post(run, Event("Warning", Reason.STAGE_RETRIED, str(number)), NOW)
    kept = {"apiVersion", "kind", "namespace", "name", "uid", "resourceVersion"}
    assert {key for posting in events.waiting["run-uid"] for key in posting["involvedObject"]} == kept
    client.open.set()
    await events.drain()
    assert not events.waiting


async def test_the_stages_that_start_or_succeed_together_are_one_event_of_each_reason(make):
    client = SlowClient()
    client.open.set()
    events, run = EventPoster(client), make.run()
    for reason, text in (
        (Reason.STAGE_SUCCEEDED, "resolve"),
        (Reason.STAGE_STARTED, "fetch/a: Job/a"),
        (Reason.STAGE_STARTED, "fetch/b: Job/b"),
        (Reason.STAGE_SUCCEEDED, "fetch/a"),
        (Reason.STAGE_STARTED, "c" * MESSAGE_MAX),
    ):
        events.post(run, Event("Normal", reason, text), NOW)
    await asyncio.sleep(0)
    assert client.posted == [], "others may follow"
    events.post(run, Event("Warning", Reason.STAGE_FAILED, "fetch/b: why"), NOW)
    await events.drain()
    assert [message for _, message in client.posted] == [
        "resolve, fetch/a",
        "fetch/a: Job/a, fetch/b: Job/b",
        "c" * MESSAGE_MAX,
        "fetch/b: why",
    ]
    events.post(run, Event("Normal", Reason.STAGE_SUCCEEDED, "fetch/b"), NOW)
    await events.drain()
    assert client.posted[-1][1] == "fetch/b", "the operator stops"
