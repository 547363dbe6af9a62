"""Progress reports to the operator."""

import time

from hypothesis import given
from hypothesis import strategies as st

from fusionrun.api.results.result import Progress
from fusionrun_stages.pod.progress import Pusher, bounded
from support.properties import quick


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


NUMBER = st.integers(-(2**80), 2**80) | st.floats() | st.sampled_from([2**70, 1e400, -1e400, 10**400, float("nan")])


@quick
@given(st.integers(-5, 2**80), st.integers(-5, 2**80), st.text(max_size=80), st.dictionaries(st.text(), NUMBER))
def test_any_numbers_are_bounded_before_they_are_sent(done, total, unit, numbers):
    progress = bounded(done, total, unit, numbers)
    assert Progress.model_validate_json(progress.model_dump_json()) == progress
    assert progress.unit == unit[:32]
    if 0 <= done <= 2**53:
        assert progress.done == done
    usable = {name: number for name, number in numbers.items() if len(name) <= 32 and abs(number) <= 1e15}
    assert progress.numbers == dict(list(usable.items())[:16])


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
