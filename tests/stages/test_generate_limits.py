"""generate: stalled servers, concurrency, metrics, cost and quota."""

import socket
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fusionrun.api.pod import EXIT_SERVER_WEDGED
from fusionrun.api.results.result import decode_result
from fusionrun.api.spec.endpoints import Quota
from fusionrun.api.tasks.task import encode_task
from fusionrun_stages import __main__ as stages
from fusionrun_stages import generate
from fusionrun_stages.client import sending
from fusionrun_stages.client.counts import QuotaShare
from fusionrun_stages.errors import InfrastructureError, ServerStalledError, UserError
from support.generation import PROMPTS, TOTAL, count_stored, error, make_generation, run, run_successor


def test_a_stalled_server_is_an_infrastructure_error_and_no_row_is_lost(tmp_path, server):
    server.plan = lambda body, number: "hang" if number > 6 else None
    with pytest.raises(InfrastructureError, match="server stalled: no token accepted for"):
        run(tmp_path, server.url, stall_seconds=1)
    assert count_stored(tmp_path) >= 6
    run_successor(tmp_path, server)


def test_a_pod_shows_activity_while_it_waits_for_a_response(tmp_path, server, monkeypatch):
    monkeypatch.setattr(sending, "SYNC_SECONDS", 0.05)
    server.plan = lambda body, number: "hang"
    work, reports = make_generation(tmp_path, server.url, stall_seconds=1), []
    with pytest.raises(ServerStalledError):
        generate.run(replace(work, report=lambda *progress, **_: reports.append(progress)))
    assert len(reports) > 2
    assert set(reports) == {(0, TOTAL, "samples")}


def test_samples_received_before_the_server_stalled_are_kept(tmp_path, server):
    def plan(body, number):  # a server without n that hangs at the second sample of every prompt
        if body["n"] > 1:
            return error(400, "n must be 1")
        return "hang" if body["seed"] % 256 else None

    server.plan = plan
    with pytest.raises(ServerStalledError):
        run(tmp_path, server.url, stall_seconds=1, concurrency=12)
    assert count_stored(tmp_path) == len(PROMPTS)


def test_a_stalled_server_has_its_own_exit_code_and_result_field(tmp_path, server, monkeypatch):
    server.plan = lambda body, number: "hang"
    (tmp_path / "task.json").write_text(encode_task(make_generation(tmp_path, server.url, stall_seconds=1).task))
    monkeypatch.setenv("FUSIONRUN_TASK", str(tmp_path / "task.json"))
    monkeypatch.setenv("FUSIONRUN_TERMINATION", str(tmp_path / "termination"))
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert stages.main(["generate"]) == EXIT_SERVER_WEDGED
    result = decode_result((tmp_path / "termination").read_text())
    assert result.server_wedged
    assert not result.user_error


def eight_at_once(server):
    """Return vLLM's metrics of a server that runs eight requests at once."""
    running, waiting = min(8, server.in_flight), max(0, server.in_flight - 8)
    lines = [
        "# TYPE vllm:num_requests_waiting gauge",
        f'vllm:num_requests_running{{engine="0",model_name="qwen"}} {running}.0',
        f'vllm:num_requests_waiting{{engine="0",model_name="qwen"}} {waiting}.0',
        f'vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} {waiting}.0',
    ]
    return "\n".join(lines) + "\n"


def test_an_idle_server_gets_more_requests_without_a_long_queue(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.server.ADAPT_SECONDS", 0.01)
    server.delay, server.metrics = 0.05, eight_at_once
    run(tmp_path, server.url, samples_per_prompt={"d0": 128, "d1": 128}, concurrency=2, max_concurrency=64)
    assert 8 <= server.max_in_flight <= 32


def test_a_fixed_concurrency_is_kept(tmp_path, server, monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.server.ADAPT_SECONDS", 0.01)
    server.delay, server.metrics = 0.02, eight_at_once
    run(tmp_path, server.url, samples_per_prompt={"d0": 32, "d1": 32}, concurrency=3, max_concurrency=3)
    assert server.max_in_flight == 3


def test_an_overloaded_endpoint_gets_fewer_requests(tmp_path, server, monkeypatch):
    server.delay = 0.01
    server.plan = lambda body, number: (503, {"Retry-After": "0"}, {}) if server.in_flight > 4 else None
    made = run(
        tmp_path, server.url, external=True, samples_per_prompt={"d0": 64, "d1": 64}, concurrency=16, max_concurrency=64
    )
    assert made.values.errors == 0


def test_metrics_have_requests_tokens_errors_and_time_left(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("FUSIONRUN_METRICS_PORT", str(port))
    pages = []

    def plan(body, number):
        if number == 1:
            return 429, {"Retry-After": "0"}, {}
        if body["messages"][0]["content"] == "p 3":
            return error(400, "too long")
        if body["messages"][0]["content"] == "p 11":
            pages.append(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        return None

    def others(labels):
        assert labels["source"] == "qwen"
        return [value for label, value in labels.items() if label != "source"]

    server.plan = plan
    run(tmp_path, server.url, concurrency=1, quota={"maxRequests": 4 * TOTAL})
    read = {
        (sample.name.removeprefix("fusionrun_generate_"), *others(sample.labels)): sample.value
        for family in text_string_to_metric_families(pages[0])
        for sample in family.samples
    }
    assert read["requests_total", "200"] == len(PROMPTS) - 2
    assert (read["requests_total", "429"], read["requests_total", "400"]) == (1, 1)
    assert read["requests_total", "503"] == 0  # the first one is then an increase
    assert read["quota_left_ratio", "maxRequests"] == 1 - (TOTAL - 1) / (2 * TOTAL)  # half of the quota is this shard's
    assert read["samples_total", "error"] == 1
    assert read["samples_total", "stop"] + read["samples_total", "length"] == TOTAL - 2
    assert read["tokens_total", "completion"] == 7 * (TOTAL - 2)
    assert (read["slots", "busy"], read["slots", "limit"]) == (1, 1)
    assert read["tokens_per_second",] > 0
    assert read["eta_seconds",] > 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_the_cost_is_computed_from_the_prices(tmp_path, server):
    made = run(tmp_path, server.url, external=True, prices={"prompt": 0.5, "completion": 2.0})
    assert made.values.cost_micro == round(TOTAL * (5 * 0.5 + 7 * 2.0))


@pytest.mark.parametrize(
    ("quota", "rows_kept"), [({"maxRequests": 20}, 9), ({"maxTokens": 100}, 5), ({"maxCost": 0.0001}, 4)]
)
def test_a_used_up_quota_ends_the_stage_and_a_larger_one_continues(tmp_path, server, quota, rows_kept):
    given = {"external": True, "concurrency": 1, "prices": {"prompt": 0.5, "completion": 2.0}}
    field = next(iter(quota))
    with pytest.raises(UserError, match=rf"sources\[qwen\].endpoint.quota.{field}: .* of 24 samples stored"):
        run(tmp_path, server.url, quota=quota, **given)
    assert rows_kept - 1 <= count_stored(tmp_path) <= rows_kept + 2  # a request has up to three samples
    run_successor(tmp_path, server, **given)


def test_the_shares_of_all_shards_add_up_to_the_quota():
    shares = [QuotaShare.of(Quota(max_requests=10, max_cost=0.5), 4, shard) for shard in range(4)]
    assert [share.requests for share in shares] == [3, 3, 2, 2]
    assert sum(share.cost_micro for share in shares) == 500_000
    assert QuotaShare.of(None, 4, 0).exceeded(9, 9, 9) == ""
