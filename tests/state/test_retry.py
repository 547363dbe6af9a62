"""The annotation that retries a failed run in place."""

from dataclasses import replace

import pytest

from fusionrun.api.results.result import Outcome, StageResult, encode_result
from fusionrun.api.status.conditions import Reason
from fusionrun.api.status.run import RETRIES_MAX, RETRY_CHARACTERS
from fusionrun.names import ANNOTATION_RETRY
from fusionrun.settings import Policy
from fusionrun.state.decide.run import decide
from fusionrun.state.observe.object_fields import format_time
from fusionrun.state.observe.object_ref import ref_of
from support.runs import make_run
from support.world import SETTINGS, World, world_after

WRONG = encode_result(StageResult(outcome=Outcome.FAILED, user_error=True, message="no such column"))
CRASH = {"exitCode": 130, "message": "a network error"}
GPU = {"limits": {"nvidia.com/gpu": 2}}


def annotate(world: World, value: str) -> None:
    world.run["metadata"].setdefault("annotations", {})[ANNOTATION_RETRY] = value


def retry(world: World, value: str = "2026-11-28T12:00:00Z") -> None:
    annotate(world, value)
    world.settle()


def failed_at(stage: str, terminated: dict | None = None, **changes) -> World:
    """Return the world of a run that has failed at a stage."""
    limits = {"backoffLimit": 0} if stage.startswith("serve/") else {}
    world = World(make_run(**limits | changes))
    world.run_until(stage)
    if stage.startswith("serve/"):
        crash_server(world, stage)
    else:
        world.fail(stage, terminated or {"exitCode": 2, "message": WRONG})
    world.settle()
    assert world.condition("Failed")[:2] == ("True", Reason.STAGE_FAILED)
    return world


def crash_server(world: World, stage: str) -> None:
    pod = world.place(stage)
    ended = {"exitCode": 1, "startedAt": "2026-01-02T03:05:00Z", "finishedAt": "2026-01-02T03:06:00Z"}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod["status"]["containerStatuses"] = [
        {"name": "vllm", "restartCount": 9, "state": waiting, "lastState": {"terminated": ended}}
    ]


STAGES = [
    ("resolve", False),
    ("prepare/prompts", True),
    ("serve/ada", False),
    ("generate/ada", False),
    ("generate/ada", True),
    ("score/bob", False),
    ("sft", True),
    ("serve/eval-final", True),
    ("evaluate/final", False),
]
"""A stage that fails, and whether the objects of the run have been deleted since."""


@pytest.mark.parametrize(("stage", "expired"), STAGES)
def test_a_failed_run_is_retried_from_its_failed_stage(stage, expired):
    world = failed_at(stage)
    done = [s for s in world.status.stages if s.state in ("Succeeded", "Skipped")]
    if expired:
        world.pass_time(days=30)
        assert not world.of_kind("Job", "PyTorchJob", "Deployment", "Service")
    made = list(world.created)
    retry(world)
    for kind in ("Finished", "Failed", "Stalled"):
        assert world.condition(kind)[0] == "False"
    assert world.condition("Reconciling")[0] == "True"
    assert world.status.completion_time is None
    assert [s for s in world.status.stages if s.state in ("Succeeded", "Skipped")] == done
    assert world.stage(stage).first_attempt == 1
    assert (world.status.retry, len(world.status.retries)) == ("2026-11-28T12:00:00Z", 1)
    entry = world.status.retries[0]
    assert (entry.reason, entry.stages) == (Reason.STAGE_FAILED, stage)
    assert stage in entry.message
    world.run_until(stage)
    assert world.workloads()[stage]["metadata"]["name"].endswith("-r1")
    world.complete()
    again = {label for label in world.created[len(made) :] if label.split(":")[0] in ("Job", "PyTorchJob")}
    assert not again & {f"Job:{s.name.replace('/', '.')}" for s in done}
    assert world.status.retries == [entry]


def test_the_events_say_what_happens():
    world = failed_at("sft")
    world.events.clear()
    retry(world)
    assert [(e.type, e.reason) for e in world.events] == [
        ("Normal", Reason.RUN_RETRIED),
        ("Warning", Reason.STAGE_RETRIED),
        ("Normal", Reason.STAGES_RUNNING),
    ]
    assert world.events[1].message == "sft: started again, because the run was retried"


def test_the_same_value_retries_once():
    world = failed_at("sft")
    retry(world)
    world.fail("sft", {"exitCode": 2, "message": WRONG})
    world.settle()
    before = world.status
    world.pass_time(hours=1)
    assert world.condition("Failed")[0] == "True"
    del world.run["metadata"]["annotations"]
    world.settle()
    retry(world)
    assert world.status == before, "a value that was removed and set again is not new"
    retry(world, "again")
    assert world.stage("sft").first_attempt == 2
    world.complete()
    assert [r.stages for r in world.status.retries] == ["sft", "sft"]


def test_only_some_characters_of_the_value_count_and_the_history_is_bounded():
    world = failed_at("construct")
    for count in range(RETRIES_MAX + 2):
        retry(world, f"{count:0{RETRY_CHARACTERS}d} and more")
        world.fail("construct", {"exitCode": 2, "message": WRONG})
        world.settle()
    assert len(world.status.retries) == RETRIES_MAX
    assert world.status.retry == f"{RETRIES_MAX + 1:0{RETRY_CHARACTERS}d}"
    assert world.stage("construct").attempt == RETRIES_MAX + 2


def test_a_value_that_a_new_run_has_does_nothing():
    world = World(make_run())
    annotate(world, "from a copied manifest")
    world.run_until("sft")
    assert world.status.retry == "from a copied manifest"
    assert Reason.RETRY_IGNORED not in {e.reason for e in world.events}
    world.fail("sft", {"exitCode": 2, "message": WRONG})
    world.settle()
    world.pass_time(minutes=1)
    assert world.condition("Failed")[0] == "True"


@pytest.mark.parametrize("state", ["in progress", "suspended", "complete"])
def test_a_run_that_did_not_fail_records_the_value_and_says_so(state):
    world = world_after("resolve")
    if state == "complete":
        world.complete()
    if state == "suspended":
        world.change_spec(suspend=True)
    before = [(c.type, c.status) for c in world.status.conditions]
    world.events.clear()
    retry(world, "now")
    assert [(e.type, e.reason) for e in world.events] == [("Normal", Reason.RETRY_IGNORED)]
    assert [(c.type, c.status) for c in world.status.conditions] == before
    assert (world.status.retry, world.status.retries) == ("now", [])
    world.change_spec(suspend=False)
    if state != "complete":
        world.run_until("sft")
        world.fail("sft", {"exitCode": 2, "message": WRONG})
        world.settle()
        assert world.condition("Failed")[0] == "True"


def test_earlier_attempts_do_not_count_for_the_backoff_limit():
    world = World(make_run(backoffLimit=1))
    world.run_until("sft")
    for _ in range(2):
        world.fail("sft", CRASH)
        world.pass_time(seconds=10)
    assert (world.condition("Failed")[0], world.stage("sft").attempt) == ("True", 1)
    retry(world)
    assert world.stage("sft").attempt == 2
    world.fail("sft", CRASH)
    world.pass_time(seconds=10)
    assert (world.condition("Failed")[0], world.stage("sft").attempt) == ("False", 3)
    world.fail("sft", CRASH)
    world.settle()
    assert world.condition("Failed")[0] == "True"


def test_a_stage_that_ran_out_of_memory_is_retried_once_more():
    world = World(make_run())
    world.run_until("sft")
    killed = {"reason": "OOMKilled", "exitCode": 137}
    for _ in range(2):
        world.fail("sft", killed)
        world.pass_time(minutes=1)
    assert world.condition("Failed")[0] == "True"
    retry(world)
    world.fail("sft", killed)
    world.pass_time(minutes=1)
    assert (world.condition("Failed")[0], world.stage("sft").attempt) == ("False", 3)


def test_a_stage_that_waited_for_its_next_attempt_goes_on_with_it():
    world = World(make_run())
    world.run_until("score/ada")
    world.fail("verify/ada.coding", {"reason": "Evicted"}, {"reason": "Evicted"})
    world.settle()
    assert world.stage("verify/ada.coding").reason == Reason.BACK_OFF
    world.fail("score/ada", {"exitCode": 2, "message": WRONG})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    retry(world)
    assert world.condition("Failed")[0] == "False"
    world.complete()
    assert world.stage("verify/ada.coding").attempt == 1


def test_gpu_time_stays_counted():
    world = World(make_run(training={"nodes": 1, "processesPerNode": 2, "resources": GPU}))
    world.run_until("sft")
    pod = world.place("sft")
    world.pass_time(hours=1)
    ended = {"terminated": {"exitCode": 2, "finishedAt": format_time(world.now)}}
    pod["status"] |= {"phase": "Failed", "containerStatuses": [{"name": "c", "state": ended}]}
    world.fail("sft", {"exitCode": 2, "message": WRONG})
    world.settle()
    spent = world.stage("sft").gpu_seconds
    assert spent == 2 * 3600
    retry(world)
    assert (world.stage("sft").gpu_seconds, world.status.gpu_seconds) == (spent, spent)
    world.place("sft")
    world.pass_time(hours=1)
    assert world.stage("sft").gpu_seconds == 2 * spent


def test_a_retried_source_does_not_touch_the_other_one():
    world = World(make_run())
    world.run_until("generate/ada")
    world.fail("generate/ada", {"exitCode": 2, "message": WRONG})
    world.settle()
    assert "serve/bob" not in world.workloads(), "it was stopped with the run"
    retry(world)
    assert world.stage("serve/ada").attempt == 1, "the address of the server has its attempt"
    assert (world.stage("serve/bob").state, world.stage("serve/bob").attempt) == ("Running", None)
    world.complete()


def test_a_stage_that_failed_after_the_run_had_failed_is_retried_too():
    world = World(make_run())
    world.run_until("score/ada")
    score = world.workloads()["score/ada"]
    world.fail("verify/ada.coding", {"exitCode": 2, "message": WRONG})
    world.settle()
    assert world.condition("Failed")[0] == "True"
    condition = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-02T04:00:00Z"}
    world.objects[ref_of(score)] = score | {"status": {"conditions": [condition]}}
    retry(world)
    assert world.status.retries[0].stages == "verify/ada.coding, score/ada"
    assert world.condition("Failed")[0] == "False"
    world.complete()


def test_a_deadline_starts_again():
    world = World(make_run(activeDeadlineSeconds=3600))
    world.run_until("sft")
    for _ in range(8):
        world.pass_time(minutes=10)
    assert world.condition("Failed")[:2] == ("True", Reason.DEADLINE_EXCEEDED)
    world.pass_time(hours=20)
    retry(world)
    assert world.condition("Failed")[0] == "False"
    assert (world.status.retries[0].reason, world.status.retries[0].stages) == (Reason.DEADLINE_EXCEEDED, None)
    for _ in range(6):
        world.pass_time(minutes=10)
    assert world.condition("Failed")[0] == "False"
    world.pass_time(seconds=1)
    assert world.condition("Failed")[0] == "True"


def test_an_invalid_run_is_checked_again():
    closed = replace(SETTINGS, policy=Policy(secrets=("fusionrun-*",)))
    run = make_run(hub={"endpoint": "https://mirror", "tokenSecretRef": {"name": "token", "key": "t"}})
    world = World(run, settings=closed)
    world.settle()
    assert world.condition("Failed")[:2] == ("True", Reason.INVALID_SPEC)
    retry(world)
    assert world.condition("Failed")[:2] == ("True", Reason.INVALID_SPEC)
    world.settings = SETTINGS
    retry(world, "the policy has changed")
    world.complete()
    assert [r.reason for r in world.status.retries] == [Reason.INVALID_SPEC] * 2


def test_a_retried_run_can_be_suspended_and_resumed():
    world = failed_at("dpo")
    world.run["spec"]["suspend"] = True
    retry(world)
    assert world.condition("Suspended")[0] == "True"
    world.change_spec(suspend=False)
    assert world.stage("dpo").attempt == 1
    world.complete()


def test_a_retry_is_decided_once():
    world = failed_at("sft")
    annotate(world, "now")
    world.reconcile()
    decision = decide(world.live(), world.settings, world.now)
    assert len(decision.status.retries if decision.status else world.status.retries) == 1
