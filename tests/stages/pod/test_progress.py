"""Progress reports to the operator."""

import time

from fusionrun_stages.pod.progress import Pusher


def test_the_newest_value_is_sent_at_a_limited_rate(server):
    received = []
    server.plan = lambda body, number: received.append(time.monotonic()) or (200, {}, {})
    report = Pusher(server.url.removesuffix("/v1"))
    end = time.monotonic() + 1.4
    number = 0
    while time.monotonic() < end:
        number += 1
        report(number, 10**9, "samples", tokens_per_second=1.5)
        time.sleep(0.001)
    report.close()
    assert 2 <= len(received) <= 3
    assert received[1] - received[0] >= 0.9
    assert {path for path, _, _ in server.requests} == {"/v1/progress"}
    last = server.requests[-1][2]
    assert (last["done"], last["unit"], last["numbers"]) == (number, "samples", {"tokens_per_second": 1.5})


def test_a_diverged_loss_is_left_out_of_the_report(server):
    server.plan = lambda body, number: (200, {}, {})
    report = Pusher(server.url.removesuffix("/v1"))
    report(3, 9, "steps", loss=float("nan"), reward_accuracy=0.5)
    report.close()
    assert server.requests[-1][2] == {"done": 3, "total": 9, "unit": "steps", "numbers": {"reward_accuracy": 0.5}}


def test_an_unreachable_operator_does_not_block_or_raise():
    report = Pusher("http://127.0.0.1:9")
    start = time.monotonic()
    for number in range(1000):
        report(number, 1000)
    report.close()
    assert time.monotonic() - start < 3


def test_without_a_url_nothing_is_sent():
    report = Pusher("")
    report(1, 2, "rows", loss=0.5)
    report.close()
