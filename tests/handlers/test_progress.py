import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fusionrun import progress as progress_module
from fusionrun.api.pod import COMPLETION_INDEX_ANNOTATION, PROGRESS_PATH
from fusionrun.api.results.result import Progress
from fusionrun.names import LABEL_RUN, LABEL_STAGE
from fusionrun.progress import BODY_MAX_BYTES, ProgressBoard, ProgressReceiver
from fusionrun.state.observe.object_ref import run_ref

PROGRESS = {"done": 3, "total": 9, "unit": "prompts", "numbers": {"tokens_per_second": 240.5}}


def pod(index=None, labels=True):
    metadata = {"name": "p", "namespace": "demo", "uid": "p"}
    if labels:
        metadata["labels"] = {LABEL_RUN: "tiny", LABEL_STAGE: "generate.qwen"}
    if index is not None:
        metadata["annotations"] = {COMPLETION_INDEX_ANNOTATION: str(index)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


async def push(bodies, known, runs=("tiny",), remote="127.0.0.1"):
    """Push bodies one after another; return the HTTP statuses, the board and the runs with new progress."""
    pushed, codes, board = [], [], ProgressBoard()
    get = {run_ref("demo", name): {} for name in runs}.get
    receiver = ProgressReceiver(board, {"127.0.0.1": known}.get, get, lambda *push: pushed.append(push), codes.append)

    @web.middleware
    async def from_remote(request, handler):
        return await handler(request.clone(remote=remote))

    application = receiver.application()
    application.middlewares.append(from_remote)
    async with TestClient(TestServer(application)) as client:
        statuses = [(await client.post(PROGRESS_PATH, data=body)).status for body in bodies]
    assert statuses == codes
    return statuses, board, pushed


async def assert_rejected(status, body, known, **more):
    statuses, board, pushed = await push([body], known, **more)
    assert (statuses, pushed, board.of(run_ref("demo", "tiny"))) == ([status], [], {})


BODY = json.dumps(PROGRESS)


async def test_progress_is_stored_by_the_labels_of_its_pod_and_its_run_is_reconciled(tiny):
    statuses, board, pushed = await push([BODY], pod(index=4))
    assert statuses == [204]
    kept = board.of(tiny)["generate/qwen", 4]
    assert (kept.progress.done, kept.progress.total) == (3, 9)
    assert kept.progress.numbers == {"tokens_per_second": 240.5}
    assert pushed == [(tiny, True)]
    board.forget(tiny)
    assert board.of(tiny) == {}


async def test_a_stage_without_indexes_is_index_zero(tiny):
    _, board, _ = await push([BODY], pod())
    assert list(board.of(tiny)) == [("generate/qwen", 0)]


def test_the_first_progress_of_each_pod_is_kept(tiny):
    board = ProgressBoard()
    for uid, done in (("a", 3), ("a", 5), ("b", 4), ("b", 6)):
        board.put(tiny, "sft", 0, uid, Progress(done=done, total=9))
        kept = board.of(tiny)["sft", 0]
        assert (kept.pod, kept.progress.done, kept.first_done) == (uid, done, {"a": 3, "b": 4}[uid])
    assert kept.since <= kept.at


@pytest.mark.parametrize("known", [None, pod(labels=False)])
async def test_an_address_that_does_not_belong_to_a_pod_of_a_run_is_rejected(known):
    await assert_rejected(403, BODY, known)


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", json.dumps({**PROGRESS, "numbers": {str(i): 1 for i in range(17)}})]
)
async def test_a_body_that_is_not_progress_is_rejected(body):
    await assert_rejected(400, body, pod())


@pytest.mark.parametrize(
    "change",
    [
        '"numbers": {"loss": NaN}',
        '"numbers": {"loss": Infinity}',
        '"numbers": {"cost_micro": 1e400}',
        '"numbers": {"cost_micro": 1e16}',
        f'"numbers": {{"{"x" * 33}": 1}}',
        f'"unit": "{"x" * 33}"',
        f'"done": 1{"0" * 25}',
        f'"total": 1{"0" * 3800}',
        '"done": -1',
        '"total": -1',
    ],
)
async def test_a_number_that_a_status_cannot_hold_is_rejected(change):
    body = f"{BODY[:-1]}, {change}}}"  # the last value of a repeated name counts
    assert json.loads(body)
    await assert_rejected(400, body, pod())


@pytest.mark.parametrize("index", ["x", "-1", "1.5", "", "4096", "9" * 5000, "²"])
async def test_an_index_that_no_pod_of_a_job_has_is_rejected_and_counted(index):
    await assert_rejected(400, BODY, pod(index=index))


async def test_progress_of_a_run_that_does_not_exist_is_rejected():
    await assert_rejected(404, BODY, pod(), runs=())


async def test_a_body_above_the_limit_is_rejected():
    await assert_rejected(413, "x" * (BODY_MAX_BYTES + 1), pod())


async def exchange(known, sent, seconds):
    """Send bytes to the endpoint and return the first line of its reply, with a timeout."""

    receiver = ProgressReceiver(ProgressBoard(), {"127.0.0.1": known}.get, lambda _: {}, [].append, [].append)
    async with TestServer(receiver.application()) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(sent)
        try:
            return (await asyncio.wait_for(reader.readline(), seconds)).decode()
        finally:
            writer.close()


HALF = f"POST {PROGRESS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()


async def test_an_unknown_address_is_rejected_before_its_body_arrives():
    assert " 403 " in await exchange(None, HALF, 2)


async def test_a_body_that_never_arrives_times_out(monkeypatch):
    monkeypatch.setattr(progress_module, "BODY_SECONDS", 0.1)
    assert " 408 " in await exchange(pod(), HALF, 2)


async def test_a_field_of_a_newer_release_is_ignored(tiny):
    statuses, _, pushed = await push([json.dumps({**PROGRESS, "run": "another"})], pod())
    assert (statuses, pushed) == ([204], [(tiny, True)])


async def test_a_pod_that_pushes_too_often_is_rejected(monkeypatch):
    assert (await push([BODY] * 2, pod()))[0] == [204, 429]
    monkeypatch.setattr(progress_module, "PUSH_MIN_SECONDS", 0.0)
    assert (await push([BODY] * 2, pod()))[0] == [204, 204]


@pytest.mark.parametrize(("remote", "status"), [("::ffff:127.0.0.1", 204), ("fd00::7", 403), ("", 403)])
async def test_an_ipv4_mapped_address_is_the_same_pod(remote, status):
    assert (await push([BODY], pod(), remote=remote))[0] == [status]
