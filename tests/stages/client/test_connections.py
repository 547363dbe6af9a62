"""Connections to a server with replicas: each may reach another replica."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fusionrun_stages.client.concurrency import ConcurrencyLimit
from fusionrun_stages.client.retries import REQUESTS_PER_CONNECTION, RetryingClient
from support.http_server import serving


class Server(ThreadingHTTPServer):
    """Replies with an empty object, and counts its connections."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.connections = 0

    def process_request(self, request, client_address) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(200)

    def reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_) -> None:
        pass


@pytest.mark.parametrize(("own", "connections"), [(True, 4), (False, 1)])
def test_connections_to_replicas_are_renewed(own, connections):
    async def send(url: str) -> None:
        client = RetryingClient(url, None, ConcurrencyLimit(1, 1), 1, own=own)
        for _ in range(4 * REQUESTS_PER_CONNECTION):
            assert (await client.post("chat/completions", dict)).status_code == 200
        await client.close()

    server = Server()
    with serving(server) as url:
        asyncio.run(send(url))
    assert server.connections == connections


def test_requests_at_the_same_time_have_connections_of_their_own_which_are_used_again():
    async def send(url: str) -> None:
        client = RetryingClient(url, None, ConcurrencyLimit(8, 8), 8)
        for count in (8, 8, 1, 20):
            replies = await asyncio.gather(*(client.post("chat/completions", dict) for _ in range(count)))
            assert [reply.status_code for reply in replies] == [200] * count
        await client.close()

    server = Server()
    with serving(server) as url:
        asyncio.run(send(url))
    assert server.connections == 8


class Restarting(Server):
    """Replies with 503 to 8 requests, and to checks of its health until it has received those and 4 checks."""

    def __init__(self) -> None:
        super().__init__(RestartingHandler)
        self.posts = self.checks = 0
        self.lock = threading.Lock()


class RestartingHandler(Handler):
    def do_GET(self) -> None:
        with self.server.lock:
            self.server.checks += 1
            is_up = self.server.posts >= 8 and self.server.checks >= 4
        self.reply(200 if is_up and self.path == "/health" else 503)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.posts += 1
            is_up = self.server.posts > 8
        self.reply(200 if is_up else 503)


def test_requests_wait_together_until_a_server_of_the_run_replies_again(monkeypatch):
    monkeypatch.setattr("fusionrun_stages.client.reachability.CHECK_SECONDS", 0)
    monkeypatch.setattr("fusionrun_stages.client.retries.UNREACHABLE_MAX_SECONDS", 0)

    async def send(url: str) -> list[int]:
        client = RetryingClient(url, None, ConcurrencyLimit(8, 8), 8, own=True)
        replies = await asyncio.gather(*(client.post("chat/completions", dict) for _ in range(8)))
        await client.close()
        return [reply.status_code for reply in replies]

    server = Restarting()
    with serving(server) as url:
        assert asyncio.run(send(url)) == [200] * 8
    assert server.posts == 16
