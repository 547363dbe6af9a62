"""The limits on connections to the operator's ports, with an operator's ports in another process."""

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from aiohttp import web

from fusionrun.handlers.ports import Limits, serving

OPEN_FILES = 600
"""Fewer than the strangers' connections, more than the limits of the ports."""
STRANGERS = 2000

PORTS = """
import asyncio, json, resource, socket, sys
from fusionrun.handlers import lifecycle
from fusionrun.handlers.health import health
from fusionrun.handlers.ports import serving
from fusionrun.handlers.resync import Resync
from fusionrun.cluster.store import Store
from fusionrun.metrics import Metrics
from fusionrun.progress import ProgressBoard, ProgressReceiver

async def main():
    store, loop = Store(), asyncio.get_running_loop()
    refused = []
    receiver = ProgressReceiver(ProgressBoard(), store.pod_at, store.get, [].append, refused.append)
    async with (
        serving(Metrics(store.runs).application(), 0, lifecycle.METRICS_LIMITS) as metrics_port,
        serving(receiver.application(), 0, lifecycle.PROGRESS_LIMITS, receiver.admits) as progress_port,
        serving(health(Resync(None, (), store, None, 60), lambda: None), 0, lifecycle.HEALTH_LIMITS) as health_port,
    ):
        print(json.dumps([metrics_port, progress_port, health_port]), flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            with socket.socket():  # as the Kubernetes client does
                print(json.dumps({"refused": len(refused)}), flush=True)

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
asyncio.run(main())
"""


@pytest.fixture
def open_files() -> Iterator[None]:
    """Let this process open the strangers' connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(number: int, port: int) -> socket.socket:
    """Connect from one of several addresses, and send half of a request."""
    stranger = socket.create_connection(("127.0.0.1", port), 5, (f"127.0.1.{number % 200 + 1}", 0))
    with contextlib.suppress(OSError):  # it may be closed already
        stranger.sendall(b"POST /v1/progress HTTP/1.1\r\nHost: ")
    return stranger


def test_strangers_cannot_stop_the_operator_from_opening_sockets(open_files):
    command = [sys.executable, "-c", PORTS, str(OPEN_FILES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as operator:
        try:
            ports = json.loads(operator.stdout.readline())
            with contextlib.ExitStack() as strangers:
                for number in range(STRANGERS):
                    strangers.enter_context(connect(number, ports[number % 3]))
                started = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{ports[2]}/healthz", timeout=5) as reply:
                    assert json.load(reply)["resync_age_seconds"] >= 0
                assert time.monotonic() - started < 2
                with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/metrics", timeout=5) as reply:
                    assert b"process_open_fds" in reply.read()
                operator.stdin.write("socket\n")
                operator.stdin.flush()
                assert json.loads(operator.stdout.readline())["refused"] >= STRANGERS // 3
        finally:
            operator.kill()


def test_the_operator_may_open_as_many_files_as_the_system_allows():
    program = """
import resource
from fusionrun.handlers.ports import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 500))
raise_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(500, 500)\n"


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def read(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


@contextlib.asynccontextmanager
async def port_with(limits: Limits, admits=lambda _: True):
    """Serve a port; yield a function that connects to it from an address and sends bytes."""
    application, writers = web.Application(client_max_size=2**20), []
    application.router.add_get("/", hello)
    application.router.add_post("/", read)

    async def send(data: bytes, host: str = "127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
        writers.append(writer)
        writer.write(data)
        return reader, writer

    async with serving(application, 0, limits, admits) as port:
        yield send
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def reply(reader) -> bytes:
    """Return everything until the operator closes the connection."""
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: "


async def test_a_connection_serves_one_request():
    async with port_with(Limits(4, 4, 5.0)) as send:
        reader, _ = await send(GET + GET)
        text = await reply(reader)
        assert text.count(b"hello") == 1
        assert b"Connection: close" in text


async def test_an_address_that_is_not_admitted_gets_no_reply():
    async with port_with(Limits(4, 4, 5.0), {"127.0.0.2"}.__contains__) as send:
        for host, found in (("127.0.0.1", False), ("127.0.0.2", True)):
            reader, _ = await send(GET, host)
            assert (b"hello" in await reply(reader)) is found


async def test_one_address_has_few_connections_and_the_oldest_gives_way():
    async with port_with(Limits(connections=3, per_address=2, seconds=60.0)) as send:
        first, second = [await send(HALF, "127.0.0.2") for _ in range(2)]
        third = await send(GET, "127.0.0.2")
        assert await reply(third[0]) == b"", "the third of one address"
        await send(HALF, "127.0.0.3")
        reader, _ = await send(GET, "127.0.0.4")
        assert b"hello" in await reply(reader)
        assert await reply(first[0]) == b"", "the oldest of all"
        second[1].write(b"x\r\n\r\n")
        assert b"hello" in await reply(second[0])


@pytest.mark.parametrize("sent", [b"", HALF, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_slow_request_is_cut_off(sent):
    async with port_with(Limits(4, 4, seconds=0.2)) as send:
        reader, _ = await send(sent)
        assert b"200" not in await reply(reader)


async def test_a_long_request_is_cut_off():
    async with port_with(Limits(4, 4, 60.0, received_bytes=1000)) as send:
        for size, found in ((100, True), (2000, False)):
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
            reader, _ = await send(head + b"x" * size)
            assert (b"200 OK" in await reply(reader)) is found
