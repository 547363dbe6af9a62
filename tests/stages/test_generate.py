import asyncio
import hashlib
import http.server
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("pyarrow")
httpx = pytest.importorskip("httpx")

from prometheus_client.parser import text_string_to_metric_families

from fusionrun.api.models import Quota
from fusionrun.api.records import Prompt, Response, Verdict, VerdictValue
from fusionrun.api.result import decode_result
from fusionrun.api.task import EXIT_SERVER_WEDGED, StageTask, encode_task
from fusionrun_stages import __main__ as stages
from fusionrun_stages import generate
from fusionrun_stages.chat import sample_seed
from fusionrun_stages.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.errors import InfrastructureError, ServerWedgedError, UserError
from fusionrun_stages.server import SERVER_ERROR_ATTEMPTS, Heartbeat, watch
from fusionrun_stages.shards import JsonLines, read_rows, shard_path, write_rows
from fusionrun_stages.spending import Limits
from fusionrun_stages.training import rows as rows_of_training
from fusionrun_stages.work import Work

PROMPTS = [Prompt(prompt_id=f"{n:016x}", dataset=f"d{n % 2}", task="Instruction", prompt=f"p {n}") for n in range(12)]
SAMPLES = {"d0": 3, "d1": 1}
TOTAL = 6 * 3 + 6


class Replies(http.server.ThreadingHTTPServer):
    """An OpenAI-compatible server whose answer is a hash of what it was asked: the same question, the same answer."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.lock = threading.Lock()
        self.plan = lambda body, number: None
        self.delay = 0.0
        self.metrics = None
        self.under_way = 0
        self.most_under_way = 0
        self.hanging = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *arguments):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.server.metrics is None:
            self.reply(404, {}, {})
        else:
            self.send(200, {}, self.server.metrics(self.server).encode())

    def do_POST(self):
        with self.server.lock:
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            self.answer()
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), dict(body)))
            number = len(self.server.asked)
        time.sleep(self.server.delay)
        planned = self.server.plan(body, number)
        if planned == "hang":
            self.server.hanging.wait(30)
            planned = "drop"
        if planned == "drop":
            self.close_connection = True
            return
        if planned is not None:
            status, headers, answer = planned
            self.reply(status, headers, answer)
            return
        count, choices = body.pop("n"), []
        ids = body.pop("return_token_ids", False)
        for index in range(count):
            # As vLLM does: sample i of a request has the seed plus i.
            one = body | {"seed": body["seed"] + index}
            text = hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()
            finish = "length" if text[0] in "01" else "stop"
            choice = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            choices.append(choice | ({"token_ids": [1] * 7} if ids else {}))
        usage = {"prompt_tokens": 5, "completion_tokens": 7 * count}
        self.reply(200, {}, {"choices": choices, "usage": usage})

    def reply(self, status, headers, answer):
        self.send(status, headers, json.dumps(answer).encode())

    def send(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Replies() as replies:
        thread = threading.Thread(target=replies.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield replies
        replies.hanging.set()
        replies.shutdown()
        thread.join()


def make_task(tmp_path, url, **fields):
    prompts = tmp_path / "prompts"
    if not prompts.exists():
        write_rows(shard_path(prompts, 0, 2), Prompt, PROMPTS)
        write_rows(shard_path(prompts, 1, 2), Prompt, [])
    parameters = {
        "kind": "generate", "source": "qwen", "base_url": url, "model": "qwen", "prompts_dir": str(prompts),
        "shards": 2,
        "samples_per_prompt": SAMPLES, "concurrency": 4, "stall_seconds": 600, "seed": 42,
        "sampling": {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.05, "max_tokens": 64},
    } | fields  # fmt: skip
    return StageTask(
        run="r", namespace="n", stage="generate/qwen", digest="d", output_dir=str(tmp_path / "out"), shards=2,
        parameters=parameters,
    )  # fmt: skip


def run(tmp_path, url, shard=0, uid="pod-a", **fields):
    task = make_task(tmp_path, url, **fields)
    work = Work(task=task, output=tmp_path / "out", shard=shard, pod_uid=uid, report=lambda *a, **k: None)
    return generate.run(work)


def rows(tmp_path, shard=0):
    return list(read_rows(shard_path(tmp_path / "out" / "responses", shard, 2), Response))


def test_every_sample_is_asked_once_with_every_parameter(tmp_path, server):
    made = run(tmp_path, server.url, system_prompt="Be brief.")
    found = rows(tmp_path)
    keys = [(r.prompt_id, r.sample_index) for r in found]
    assert keys == sorted((p.prompt_id, n) for p in PROMPTS for n in range(SAMPLES[p.dataset]))
    assert made.files == ["responses/00000-of-00002.parquet"]
    truncated = sum(r.finish_reason == "length" for r in found)
    assert made.counts == {
        "requests": TOTAL, "responses": TOTAL, "truncated": truncated, "errors": 0,
        "prompt_tokens": 5 * TOTAL, "completion_tokens": 7 * TOTAL,
    }  # fmt: skip
    assert made.numbers["tokens_per_second"] > 0
    path, _, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body.keys() == {
        "model", "messages", "temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "n", "seed",
        "chat_template_kwargs",
    } | ({"return_token_ids"} if body["n"] > 1 else set())  # fmt: skip
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    asked = [b["seed"] + i for _, _, b in server.asked for i in range(b["n"])]
    assert len(asked) == len(set(asked)) == TOTAL
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_a_prompt_is_rendered_with_the_date_that_training_renders_with(tmp_path, server):
    run(tmp_path, server.url)
    assert {json.dumps(body["chat_template_kwargs"]) for _, _, body in server.asked} == {json.dumps(TEMPLATE_ARGUMENTS)}
    assert rows_of_training.TEMPLATE_ARGUMENTS is TEMPLATE_ARGUMENTS


def test_an_endpoint_is_asked_in_openais_words_alone(tmp_path, server):
    neutral = {"temperature": 0.7, "top_p": 0.8, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 64}
    assert run(tmp_path, server.url, external=True, sampling=neutral).counts["responses"] == TOTAL
    ours = {"model", "messages", "temperature", "top_p", "max_tokens", "n", "seed"}
    assert {key for _, _, body in server.asked for key in body} == ours


def test_an_endpoint_is_sent_the_sampling_that_was_asked_for(tmp_path, server):
    run(tmp_path, server.url, external=True)
    assert all(body["repetition_penalty"] == 1.05 and "top_k" not in body for _, _, body in server.asked)


def test_a_data_set_that_is_not_named_is_not_asked(tmp_path, server):
    assert run(tmp_path, server.url, samples_per_prompt={"d1": 2}).counts["requests"] == 12
    assert {r.dataset for r in rows(tmp_path)} == {"d1"}


def test_a_prompt_whose_own_solution_fails_is_not_asked(tmp_path, server):
    verdicts = [(0, VerdictValue.RIGHT), (2, VerdictValue.WRONG), (4, VerdictValue.UNKNOWN)]
    rows_of = [
        Verdict(prompt_id=PROMPTS[n].prompt_id, source="solutions", sample_index=0, verdict=value)
        for n, value in verdicts
    ]
    write_rows(shard_path(tmp_path / "verdicts", 0, 2), Verdict, rows_of)
    made = run(tmp_path, server.url, solutions_verdicts_dir=str(tmp_path / "verdicts"))
    assert {p.prompt_id for p in PROMPTS} - {r.prompt_id for r in rows(tmp_path)} == {
        PROMPTS[2].prompt_id,
        PROMPTS[4].prompt_id,
    }
    assert made.counts["requests"] == TOTAL - 2 * SAMPLES["d0"]


def test_an_empty_shard_is_an_empty_file(tmp_path, server):
    assert run(tmp_path, server.url, shard=1).counts["requests"] == 0
    assert rows(tmp_path, 1) == []


def test_seeds_have_63_bits_and_room_for_the_index():
    seeds = [sample_seed(42, "qwen", "p", index) for index in range(128)]
    assert [s - seeds[0] for s in seeds] == list(range(128))
    assert 2**40 < seeds[0] < 2**63
    assert seeds[0] % 256 == 0
    assert len({sample_seed(a, b, c, 0) for a in (1, 2) for b in "xy" for c in "pq"}) == 8


def test_a_successor_asks_only_for_what_is_missing(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = rows(tmp_path / "whole")
    parts = tmp_path / "out" / "parts"
    for uid, kept in (("dead-1", expected[:5]), ("dead-2", expected[3:9])):
        lines = JsonLines(parts / f"shard-00000.{uid}.jsonl.part")
        for row in kept:
            lines.append(row)
        lines.close()
    with (parts / "shard-00000.dead-2.jsonl.part").open("ab") as file:
        file.write(b'{"prompt_id": "torn')
    server.asked.clear()
    made = run(tmp_path, server.url)
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - 9
    assert rows(tmp_path) == expected
    assert made.counts["requests"] == TOTAL
    assert not list(parts.iterdir())


def test_a_pod_that_died_between_file_and_manifest_asks_nothing_again(tmp_path, server):
    first = run(tmp_path, server.url)
    server.asked.clear()
    again = run(tmp_path, server.url, uid="pod-b")
    assert server.asked == []
    assert again.counts == first.counts


def test_busy_and_broken_replies_are_tried_again(tmp_path, server):
    def plan(body, number):
        return {
            1: (429, {"Retry-After": "0.05"}, {"error": {"message": "slow down"}}),
            2: (500, {}, {"error": {"message": "oops"}}),
            3: "drop",
            4: (503, {}, {}),
        }.get(number)

    server.plan = plan
    made = run(tmp_path, server.url)
    assert (made.counts["responses"], made.counts["errors"]) == (TOTAL, 0)
    assert len(server.asked) == len(PROMPTS) + 4


def test_server_errors_are_counted_by_themselves(tmp_path, server):
    """What else a request met before does not make its first 500 final."""
    busy = (429, {"Retry-After": "0"}, {})
    oops = (500, {}, {"error": {"message": "oops"}})
    server.plan = lambda body, number: busy if number <= 9 else oops if number == 10 else None
    made = run(tmp_path, server.url, concurrency=1)
    assert (made.counts["errors"], len(server.asked)) == (0, len(PROMPTS) + 10)


def test_a_prompt_whose_every_try_is_a_server_error_is_recorded(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.server.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: (500, {}, {}) if body["messages"][0]["content"] == "p 1" else None
    assert run(tmp_path, server.url).counts["errors"] == 1
    assert len(server.asked) == len(PROMPTS) + SERVER_ERROR_ATTEMPTS - 1


def test_timeouts_conflicts_and_pages_of_a_proxy_are_tried_again(tmp_path, server):
    server.plan = lambda body, number: {1: (408, {}, {}), 2: (409, {}, {}), 3: (200, {}, {"ok": True})}.get(number)
    made = run(tmp_path, server.url)
    assert (made.counts["errors"], len(server.asked)) == (0, len(PROMPTS) + 3)


def test_a_limit_per_day_ends_the_stage_and_keeps_what_is_stored(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.server.REFUSED_STALLS", 0.5)
    server.plan = lambda body, number: (429, {"Retry-After": "0.05"}, {}) if number > 6 else None
    with pytest.raises(InfrastructureError, match=r"requests were refused as too many \(429\).* is stored"):
        run(tmp_path, server.url, external=True, stall_seconds=2)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert stored >= 6
    server.plan = lambda body, number: None
    server.asked.clear()
    assert run(tmp_path, server.url, external=True, uid="pod-b").counts["responses"] == TOTAL
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - stored


MODERATED = (403, {}, {"error": {"message": "flagged by moderation"}})


def test_a_prompt_that_a_moderation_forbids_is_recorded_with_its_reason(tmp_path, server):
    server.plan = lambda body, number: MODERATED if body["messages"][0]["content"] == "p 3" else None
    made = run(tmp_path, server.url, external=True)
    assert [r.error for r in rows(tmp_path) if r.error] == ["403: flagged by moderation"]
    assert (made.counts["responses"], made.counts["errors"]) == (TOTAL - 1, 1)


def test_a_key_that_may_do_nothing_ends_the_stage(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.server.WAIT_MAX_SECONDS", 0.01)
    server.plan = lambda body, number: MODERATED
    with pytest.raises(UserError, match="answered 403: flagged"):
        run(tmp_path, server.url, external=True)


def test_a_key_that_is_withdrawn_ends_the_stage(tmp_path, server):
    server.plan = lambda body, number: MODERATED if number > 3 else None
    with pytest.raises(UserError, match="answered 403: flagged"):
        run(tmp_path, server.url, external=True, concurrency=1, samples_per_prompt={"d0": 40, "d1": 1})


def test_two_wedged_servers_behind_one_address_are_no_sign_of_life():
    counts = itertools.cycle([1000.0, 500.0])

    async def count():
        return next(counts)

    with pytest.raises(ServerWedgedError, match="no token accepted"):
        asyncio.run(asyncio.wait_for(watch(Heartbeat(), 0.2, "no token accepted", count), 5))


def test_a_refused_prompt_is_recorded_with_its_reason(tmp_path, server):
    refusal = (400, {}, {"error": {"message": "maximum context length is 256 tokens"}})
    server.plan = lambda body, number: refusal if body["messages"][0]["content"] == "p 3" else None
    made = run(tmp_path, server.url)
    (failed,) = [r for r in rows(tmp_path) if r.error]
    assert (failed.prompt_id, failed.finish_reason, failed.text) == (PROMPTS[3].prompt_id, "error", "")
    assert failed.error == "400: maximum context length is 256 tokens"
    assert made.counts["errors"] == 1


def test_a_strange_finish_reason_is_an_error_with_its_reason(tmp_path, server):
    answer = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    strange = {"p 1": answer, "p 3": []}

    def plan(body, number):
        prompt = body["messages"][0]["content"]
        return (200, {}, strange[prompt]) if prompt in strange else None

    server.plan = plan
    run(tmp_path, server.url)
    assert len(server.asked) == len(PROMPTS) + 2  # what is no completion at all may be a proxy's page
    errors = sorted(r.error for r in rows(tmp_path) if r.error)
    assert errors[0] == "finish_reason content_filter"
    assert errors[1].startswith("not a chat completion")


def test_a_server_that_refuses_everything_is_the_users_error_and_leaves_no_rows(tmp_path, server):
    server.plan = lambda body, number: (400, {}, {"error": {"message": "System role not supported"}})
    with pytest.raises(UserError, match="'qwen': not one of 24 requests was answered: 400: System role not supported"):
        run(tmp_path, server.url)
    assert not list((tmp_path / "out" / "parts").iterdir())
    server.plan = lambda body, number: None
    assert run(tmp_path, server.url).counts["responses"] == TOTAL


def test_a_server_that_knows_no_n_is_asked_one_by_one(tmp_path, server):
    server.plan = lambda body, number: (400, {}, {"error": {"message": "n must be 1"}}) if body["n"] > 1 else None
    assert run(tmp_path, server.url).counts["responses"] == TOTAL


def test_a_server_that_gives_fewer_samples_is_asked_for_the_rest(tmp_path, server):
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    answer = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    server.plan = lambda body, number: (200, {}, answer) if body["n"] > 1 else None
    made = run(tmp_path, server.url)
    assert (made.counts["responses"], len(server.asked)) == (TOTAL, 6 * 3 + 6)
    assert sum(r.completion_tokens == 3 for r in rows(tmp_path)) == 6


def test_missing_samples_are_asked_in_runs():
    done = {("p", 1), ("p", 4), ("p", 5)}
    assert list(generate.missing(done, "p", 8)) == [range(1), range(2, 4), range(6, 8)]
    assert list(generate.missing(set(), "p", 20)) == [range(16), range(16, 20)]
    assert list(generate.missing(set(), "p", 0)) == []
    assert list(generate.missing(done | {("p", n) for n in range(8)}, "p", 8)) == []


def test_a_wrong_key_ends_at_once(tmp_path, server, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    server.plan = lambda body, number: (401, {}, {"error": {"message": "bad key"}})
    with pytest.raises(UserError, match="answered 401: bad key"):
        run(tmp_path, server.url, api_key_env="KEY")
    assert len(server.asked) <= 4
    assert server.asked[0][1]["Authorization"] == "Bearer secret"


def test_a_server_without_our_extra_parameters_is_asked_without_the_neutral_ones(tmp_path, server):
    def plan(body, number):
        return (400, {}, {"error": {"message": "Unrecognized request argument: top_k"}}) if "top_k" in body else None

    server.plan = plan
    assert run(tmp_path, server.url).counts["responses"] == TOTAL
    assert all("repetition_penalty" in body for _, _, body in server.asked)


def test_a_wedged_server_is_an_infrastructure_error_and_nothing_is_lost(tmp_path, server):
    server.plan = lambda body, number: "hang" if number > 6 else None
    with pytest.raises(InfrastructureError, match="server wedged: no token accepted for"):
        run(tmp_path, server.url, stall_seconds=1)
    server.hanging.set()
    server.plan = lambda body, number: None
    server.asked.clear()
    (part,) = (tmp_path / "out" / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert stored >= 6
    assert run(tmp_path, server.url, uid="pod-b").counts["responses"] == TOTAL
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - stored


def test_answers_of_a_prompt_that_came_before_the_server_wedged_are_kept(tmp_path, server):
    def plan(body, number):  # one that knows no n, and hangs at the second sample of every prompt
        if body["n"] > 1:
            return 400, {}, {"error": {"message": "n must be 1"}}
        return "hang" if body["seed"] % 256 else None

    server.plan = plan
    with pytest.raises(ServerWedgedError):
        run(tmp_path, server.url, stall_seconds=1, concurrency=12)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    assert part.read_bytes().count(b"\n") == len(PROMPTS)


def test_a_wedged_server_is_told_apart_by_exit_code_and_words(tmp_path, server, monkeypatch):
    server.plan = lambda body, number: "hang"
    (tmp_path / "task.json").write_text(encode_task(make_task(tmp_path, server.url, stall_seconds=1)))
    monkeypatch.setenv("FUSIONRUN_TASK", str(tmp_path / "task.json"))
    monkeypatch.setenv("FUSIONRUN_TERMINATION", str(tmp_path / "termination"))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert stages.main(["generate"]) == EXIT_SERVER_WEDGED
    told = decode_result((tmp_path / "termination").read_text())
    assert told.server_wedged
    assert not told.user_error


def queue_of_eight(server):
    """Tell vLLM's metrics of a server that runs eight requests at once."""
    running, waiting = min(8, server.under_way), max(0, server.under_way - 8)
    lines = [
        "# TYPE vllm:num_requests_waiting gauge",
        f'vllm:num_requests_running{{engine="0",model_name="qwen"}} {running}.0',
        f'vllm:num_requests_waiting{{engine="0",model_name="qwen"}} {waiting}.0',
        f'vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} {waiting}.0',
    ]
    return "\n".join(lines) + "\n"


def test_a_server_with_room_gets_more_requests_and_no_long_queue(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.chat.ADAPT_SECONDS", 0.01)
    server.delay, server.metrics = 0.05, queue_of_eight
    run(tmp_path, server.url, samples_per_prompt={"d0": 128, "d1": 128}, concurrency=2, max_concurrency=64)
    assert 8 <= server.most_under_way <= 32


def test_a_fixed_limit_is_kept(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.chat.ADAPT_SECONDS", 0.01)
    server.delay, server.metrics = 0.02, queue_of_eight
    run(tmp_path, server.url, samples_per_prompt={"d0": 32, "d1": 32}, concurrency=3, max_concurrency=3)
    assert server.most_under_way == 3


def test_an_endpoint_that_refuses_gets_fewer_requests(tmp_path, server, monkeypatch):
    server.delay = 0.01
    server.plan = lambda body, number: (503, {"Retry-After": "0"}, {}) if server.under_way > 4 else None
    made = run(
        tmp_path, server.url, external=True, samples_per_prompt={"d0": 64, "d1": 64}, concurrency=16, max_concurrency=64
    )
    assert made.counts["errors"] == 0


def test_metrics_tell_requests_tokens_errors_and_the_time_left(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("FUSIONRUN_METRICS_PORT", str(port))
    pages = []

    def plan(body, number):
        if number == 1:
            return 429, {"Retry-After": "0"}, {}
        if body["messages"][0]["content"] == "p 3":
            return 400, {}, {"error": {"message": "too long"}}
        if body["messages"][0]["content"] == "p 11":
            pages.append(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        return None

    def others(labels):
        assert labels["source"] == "qwen"
        return [value for label, value in labels.items() if label != "source"]

    server.plan = plan
    run(tmp_path, server.url, concurrency=1)
    read = {
        (sample.name.removeprefix("fusionrun_generate_"), *others(sample.labels)): sample.value
        for family in text_string_to_metric_families(pages[0])
        for sample in family.samples
    }
    assert read["requests_total", "200"] == len(PROMPTS) - 2
    assert (read["requests_total", "429"], read["requests_total", "400"]) == (1, 1)
    assert read["samples_total", "error"] == 1
    assert read["samples_total", "stop"] + read["samples_total", "length"] == TOTAL - 2
    assert read["tokens_total", "completion"] == 7 * (TOTAL - 2)
    assert (read["slots", "busy"], read["slots", "limit"]) == (1, 1)
    assert read["tokens_per_second",] > 0
    assert read["eta_seconds",] > 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_answers_of_an_endpoint_are_counted_by_its_prices(tmp_path, server):
    made = run(tmp_path, server.url, external=True, prices={"prompt": 0.5, "completion": 2.0})
    assert made.counts["cost_micro"] == round(TOTAL * (5 * 0.5 + 7 * 2.0))


@pytest.mark.parametrize(
    ("quota", "rows_kept"), [({"maxRequests": 20}, 9), ({"maxTokens": 100}, 5), ({"maxCost": 0.0001}, 4)]
)
def test_a_quota_ends_the_generation_and_a_larger_one_goes_on(tmp_path, server, quota, rows_kept):
    given = {"external": True, "concurrency": 1, "prices": {"prompt": 0.5, "completion": 2.0}}
    field = next(iter(quota))
    with pytest.raises(UserError, match=rf"sources\[qwen\].endpoint.quota.{field}: .* of 24 samples stored"):
        run(tmp_path, server.url, quota=quota, **given)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    stored = part.read_bytes().count(b"\n")
    assert rows_kept - 1 <= stored <= rows_kept + 2  # a request has up to three samples
    server.asked.clear()
    assert run(tmp_path, server.url, uid="pod-b", **given).counts["responses"] == TOTAL
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL - stored


def test_shards_share_a_quota_out_whole():
    shares = [Limits.of(Quota(max_requests=10, max_cost=0.5), 4, shard) for shard in range(4)]
    assert [share.requests for share in shares] == [3, 3, 2, 2]
    assert sum(share.cost_micro for share in shares) == 500_000
    assert Limits.of(None, 4, 0).reached(9, 9, 9) == ""


def test_an_account_without_money_ends_at_once(tmp_path, server):
    error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    server.plan = lambda body, number: (429, {}, {"error": error})
    with pytest.raises(UserError, match="answered 429: You exceeded"):
        run(tmp_path, server.url, external=True)


def test_nobody_at_home_is_an_infrastructure_error(tmp_path):
    with pytest.raises(InfrastructureError, match="server wedged"):
        run(tmp_path, "http://127.0.0.1:9/v1", stall_seconds=1)


def test_kills_at_random_moments_end_in_the_same_bytes(tmp_path, server):
    run(tmp_path / "whole", server.url)
    expected = shard_path(tmp_path / "whole" / "out" / "responses", 0, 2).read_bytes()
    server.delay = 0.05
    (tmp_path / "task.json").write_text(encode_task(make_task(tmp_path, server.url, concurrency=2)))
    choice = random.Random(7)
    code = None
    for attempt in range(20):
        environment = os.environ | {
            "FUSIONRUN_TASK": str(tmp_path / "task.json"),
            "FUSIONRUN_TERMINATION": str(tmp_path / "termination"),
            "FUSIONRUN_POD_UID": f"pod-{attempt}",
            "JOB_COMPLETION_INDEX": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with subprocess.Popen([sys.executable, "-m", "fusionrun_stages", "generate"], env=environment) as process:
            before = len(server.asked)
            enough = before + choice.randint(1, 8)
            while process.poll() is None and (attempt >= 3 or len(server.asked) < enough):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == 0:
            break
    assert code == 0
    assert shard_path(tmp_path / "out" / "responses", 0, 2).read_bytes() == expected
    assert (tmp_path / "out" / "manifests" / "00000-of-00002.json").is_file()


def test_two_runs_that_share_a_shard_ask_for_each_sample_once(tmp_path, server):
    server.delay = 0.05
    pods = []
    for run_name in ("one", "two"):
        task = make_task(tmp_path, server.url, concurrency=2).model_copy(update={"run": run_name})
        (tmp_path / f"{run_name}.json").write_text(encode_task(task))
        environment = os.environ | {
            "FUSIONRUN_TASK": str(tmp_path / f"{run_name}.json"),
            "FUSIONRUN_TERMINATION": str(tmp_path / f"{run_name}.termination"),
            "FUSIONRUN_POD_UID": f"pod-{run_name}",
            "JOB_COMPLETION_INDEX": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        pods.append(subprocess.Popen([sys.executable, "-m", "fusionrun_stages", "generate"], env=environment))
    assert [pod.wait(60) for pod in pods] == [0, 0]
    told = [decode_result((tmp_path / f"{run_name}.termination").read_text()) for run_name in ("one", "two")]
    assert sorted(result.cached for result in told) == [False, True]
    assert sum(body["n"] for _, _, body in server.asked) == TOTAL
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifests", "parts", "responses"]
