"""Progress reports to the operator."""

import http.server
import json
import threading
import time

import pytest

from fusionrun_stages.pod.progress import Pusher


@pytest.fixture
def operator():
    """An HTTP server that stores the reports it receives."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((time.monotonic(), self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def test_the_newest_value_is_sent_at_a_limited_rate(operator):
    url, received = operator
    report = Pusher(url)
    end = time.monotonic() + 1.4
    number = 0
    while time.monotonic() < end:
        number += 1
        report(number, 10**9, "samples", tokens_per_second=1.5)
        time.sleep(0.001)
    report.close()
    assert 2 <= len(received) <= 3
    assert received[1][0] - received[0][0] >= 0.9
    last = received[-1][2]
    assert (last["done"], last["unit"], last["numbers"]) == (number, "samples", {"tokens_per_second": 1.5})
    assert {path for _, path, _ in received} == {"/v1/progress"}


def test_a_diverged_loss_is_left_out_of_the_report(operator):
    url, received = operator
    report = Pusher(url)
    report(3, 9, "steps", loss=float("nan"), reward_accuracy=0.5)
    report.close()
    assert received[-1][2] == {"done": 3, "total": 9, "unit": "steps", "numbers": {"reward_accuracy": 0.5}}


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
