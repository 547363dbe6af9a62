import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from fusionrun import progress as progress_module
from fusionrun.names import API_VERSION, KIND, LABEL_RUN, LABEL_STAGE
from fusionrun.progress import BODY_MAX_BYTES, PATH, ProgressBoard
from fusionrun.state.observe.object_ref import ObjectRef

PROGRESS = {"done": 3, "total": 9, "unit": "prompts", "numbers": {"tokens_per_second": 240.5}}


def pod(index=None, labels=True):
    metadata = {"name": "p", "namespace": "demo", "uid": "p"}
    if labels:
        metadata["labels"] = {LABEL_RUN: "tiny", LABEL_STAGE: "generate.qwen"}
    if index is not None:
        metadata["annotations"] = {progress_module.ANNOTATION_INDEX: str(index)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def push(bodies, known, runs=("tiny",)):
    """Push bodies one after another; return the replies' statuses, the board and who was poked."""
    poked, codes = [], []
    board = ProgressBoard({"127.0.0.1": known}.get, lambda run: run.name in runs, poked.append, codes.append)

    async def go():
        async with TestClient(TestServer(board.application())) as client:
            return [(await client.post(PATH, data=body)).status for body in bodies]

    statuses = asyncio.run(go())
    assert statuses == codes
    return statuses, board, poked


def test_a_push_is_kept_under_what_its_pod_is_and_pokes_the_run(tiny):
    statuses, board, poked = push([json.dumps(PROGRESS)], pod(index=4))
    assert statuses == [204]
    kept = board.of(tiny)["generate/qwen", 4]
    assert (kept.progress.done, kept.progress.total) == (3, 9)
    assert kept.progress.numbers == {"tokens_per_second": 240.5}
    assert poked == [tiny]
    board.forget(tiny)
    assert board.of(tiny) == {}


def test_a_stage_without_indexes_is_index_zero(tiny):
    _, board, _ = push([json.dumps(PROGRESS)], pod())
    assert list(board.of(tiny)) == [("generate/qwen", 0)]


@pytest.mark.parametrize("known", [None, pod(labels=False)])
def test_an_address_that_is_no_pod_of_a_run_is_refused(known):
    statuses, _, poked = push([json.dumps(PROGRESS)], known)
    assert statuses == [403]
    assert poked == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        json.dumps({**PROGRESS, "numbers": {str(i): 1 for i in range(17)}}),
    ],
)
def test_what_is_no_progress_is_refused(body):
    statuses, _, poked = push([body], pod())
    assert statuses == [400]
    assert poked == []


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
def test_what_no_status_can_hold_is_refused(change):
    body = json.dumps(PROGRESS)
    assert json.loads(body[:-1] + ", " + change + "}")  # it is JSON, of which the last value for a name counts
    statuses, board, poked = push([body[:-1] + ", " + change + "}"], pod())
    assert (statuses, poked, board.of(ObjectRef(API_VERSION, KIND, "demo", "tiny"))) == ([400], [], {})


@pytest.mark.parametrize("index", ["x", "-1", "1.5", "", "4096", "9" * 5000, "²"])
def test_an_index_that_no_pod_of_a_job_has_is_refused_and_counted(index):
    statuses, _, poked = push([json.dumps(PROGRESS)], pod(index=index))
    assert (statuses, poked) == ([400], [])


def test_nothing_is_kept_of_a_run_that_there_is_none_of(tiny):
    statuses, board, poked = push([json.dumps(PROGRESS)], pod(), runs=())
    assert (statuses, poked, board.of(tiny)) == ([404], [], {})


def exchange(known, sent, seconds):
    """Send bytes to a board and return the first line of its answer, read within so many seconds."""
    board = ProgressBoard({"127.0.0.1": known}.get, lambda run: True, lambda run: None, lambda code: None)

    async def go():
        async with TestServer(board.application()) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(sent)
            try:
                return (await asyncio.wait_for(reader.readline(), seconds)).decode()
            finally:
                writer.close()

    return asyncio.run(go())


HALF = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()


def test_a_stranger_is_answered_before_its_body_is_there():
    assert " 403 " in exchange(None, HALF, 2)


def test_a_body_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(progress_module, "BODY_SECONDS", 0.1)
    assert " 408 " in exchange(pod(), HALF, 2)


def test_a_field_of_a_newer_release_is_ignored():
    pushed = [push([json.dumps(body)], pod())[0::2] for body in (PROGRESS, {**PROGRESS, "run": "another"})]
    assert pushed[0] == pushed[1]


def test_a_body_above_the_limit_is_refused():
    assert push(["x" * (BODY_MAX_BYTES + 1)], pod())[0] == [413]


def test_a_pod_that_pushes_too_often_is_told_so(monkeypatch):
    assert push([json.dumps(PROGRESS)] * 2, pod())[0] == [204, 429]
    monkeypatch.setattr(progress_module, "PUSH_MIN_SECONDS", 0.0)
    assert push([json.dumps(PROGRESS)] * 2, pod())[0] == [204, 204]


def test_an_ipv4_address_in_ipv6_clothes_is_the_same_pod():
    assert progress_module._address("::ffff:10.0.0.7") == "10.0.0.7"
    assert progress_module._address("fd00::7") == "fd00::7"
    assert progress_module._address("") == ""
