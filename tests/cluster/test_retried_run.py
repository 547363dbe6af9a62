"""The annotation of a failed run, from the watch event to the new objects: store, gather, decide and execute."""

from datetime import UTC, datetime

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.cluster.events import EventPoster
from fusionrun.cluster.execute import Executor
from fusionrun.cluster.gather import Gatherer
from fusionrun.metrics import Metrics
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.progress import ProgressBoard
from fusionrun.reconcile import Reconciler
from fusionrun.state.decide.prerequisites import prerequisites
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.served import served
from support.world import SETTINGS, World

WRONG = encode_result(StageResult(outcome=Outcome.FAILED, user_error=True, message="no such column"))


async def test_a_watch_event_with_the_annotation_starts_the_failed_stage_again(client, store):
    world = World(make_run(), now=datetime.now(UTC))
    world.run_until("verify/ada.coding")
    world.fail("verify/ada.coding", {"exitCode": 2, "message": WRONG})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    run, *children = served(world)
    client.add(run, *children)
    client.objects |= {each: {} for each in prerequisites(run)}
    client.version = 2_000_000
    for manifest in (run, *children):
        store.put(manifest)
    ref = ref_of(run)
    parts = SETTINGS, Gatherer(client, store), ProgressBoard(), Executor(client, store, EventPoster(client))
    reconciler = Reconciler(*parts, Metrics(store.runs), wake=lambda _: None)
    assert await reconciler.reconcile(ref, None), "the time until its objects expire"
    assert client.verbs() == []

    annotations = {ANNOTATION_RETRY: "2026-11-28T12:00:00Z"}
    client.objects[ref] = run | {
        "metadata": run["metadata"] | {"annotations": annotations, "resourceVersion": "2000000"}
    }
    assert store.put(client.objects[ref])
    later = 0.0
    while later == 0.0:
        later = await reconciler.reconcile(ref, None)
    made = sorted(name for verb, kind, name in client.calls if (verb, kind) == ("create", "Job"))
    assert [name.endswith("-r1") for name in made if "verify-ada-coding" in name] == [True]
    assert client.verbs().count("list Pod") == 1
    status = client.objects[ref]["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Finished"] == "False"
    assert status["retries"][0]["stages"] == "verify/ada.coding"
