"""The checks before the first program: no network access, and isolation between programs.

No test connects to an address of another machine.
"""

import multiprocessing
import socket
import struct
import sys
import time
from ipaddress import ip_network

import pytest

from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.sandbox import hops, isolation, probe, routes, runner
from fusionrun_stages.sandbox.isolation import Isolation, check_isolation
from fusionrun_stages.sandbox.routes import Route

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100F40A	0003	0	0	0	00000000	0	0	0
eth0	0000F40A	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	FEA9FEA9	00000000	0201	0	0	0	FFFFFFFF	0	0	0
"""
ROUTES6 = """\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""  # noqa: E501
ISOLATED = [Route(ip_network("10.245.0.0/16"), None)]


@pytest.fixture
def start_runner(monkeypatch, tmp_path):
    """Return a function that starts a runner with a replaced probe, which sends nothing."""
    monkeypatch.delenv("FUSIONRUN_SANDBOX_PROBE", raising=False)
    monkeypatch.setenv("FUSIONRUN_SANDBOX_SOCKET", str(tmp_path / "runner.sock"))
    monkeypatch.setattr(isolation, "NETWORK_SECONDS", 0.0)
    started = []

    def start(look):
        monkeypatch.setattr(probe, "find_reachable", look)
        process = multiprocessing.get_context("fork").Process(target=runner.serve, args=(tmp_path / "runner.sock",))
        started.append(process)
        process.start()

    yield start
    for process in started:
        process.terminate()
        process.join()


def test_network_access_fails_the_stage_and_the_message_names_the_fix(start_runner):
    start_runner(lambda: ["tcp 10.96.0.1:443"])
    with pytest.raises(
        UserError, match=r"tcp 10.96.0.1:443 answered .* scheduling.sandboxRuntimeClassName .* NetworkPolicy"
    ):
        check_isolation()


def test_the_probe_cannot_be_switched_off_in_a_pod(start_runner, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROBE", "off")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    start_runner(lambda: ["tcp 10.96.0.1:443"])
    with pytest.raises(UserError):
        check_isolation()


def test_a_network_policy_may_take_some_seconds(start_runner, monkeypatch):
    monkeypatch.setattr(isolation, "NETWORK_SECONDS", 30.0)
    closed = time.monotonic() + 1.5
    start_runner(lambda: [] if time.monotonic() > closed else ["tcp 10.96.0.1:443"])
    assert check_isolation().runtime_class is None
    assert time.monotonic() > closed


def test_an_unknown_network_access_fails_the_stage(start_runner):
    def probe_fails():
        raise PermissionError("/proc/net/route")

    start_runner(probe_fails)
    with pytest.raises(InfrastructureError, match=r"cannot determine .*/proc/net/route"):
        check_isolation()


def test_without_landlock_a_runtime_class_is_required(monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROBE", "off")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(isolation, "landlock_version", lambda: 0)
    with pytest.raises(UserError, match=r"no Landlock .* scheduling.sandboxRuntimeClassName"):
        check_isolation()
    monkeypatch.setenv("FUSIONRUN_SANDBOX_RUNTIME_CLASS", "gvisor")
    assert check_isolation() == Isolation(0, "gvisor")


def test_without_landlock_one_program_runs_at_a_time(monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROGRAMS", "2")
    assert [Isolation(version, "gvisor").programs_at_once for version in (0, 7)] == [1, 2]


def write_routes(monkeypatch, tmp_path, *, ipv6=True):
    for name, text in (("_ROUTES", ROUTES), ("_ROUTES6", ROUTES6)):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(routes, name, path)
    monkeypatch.setattr(routes, "_has_ipv6", lambda: ipv6)


def test_the_routing_tables_of_the_kernel_are_parsed(monkeypatch, tmp_path):
    write_routes(monkeypatch, tmp_path)
    assert routes.read_routes() == [
        Route(ip_network("0.0.0.0/0"), "10.244.0.1"),
        Route(ip_network("10.244.0.0/16"), None),
        Route(ip_network("fd00::/64"), None),
        Route(ip_network("::/0"), "fe80::1%eth0"),
    ]
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    hosts = {host for protocol, host, _ in probe.find_targets(routes.read_routes()) if protocol == "tcp"}
    assert {"10.96.0.1", "10.244.0.1", "fe80::1%eth0"} <= hosts


@pytest.mark.parametrize("name", ["_ROUTES", "_ROUTES6"])
@pytest.mark.parametrize("text", [None, "eth0 nonsense\neth0 nonsense\n"])
def test_a_routing_table_that_cannot_be_read_is_an_error(monkeypatch, tmp_path, name, text):
    write_routes(monkeypatch, tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises((OSError, ValueError)):
        probe.find_reachable()


def test_without_ipv6_its_routing_table_may_be_missing(monkeypatch, tmp_path):
    write_routes(monkeypatch, tmp_path, ipv6=False)
    (tmp_path / "_ROUTES6").unlink()
    assert len(routes.read_routes()) == 2


DEFAULT, DEFAULT6 = Route(ip_network("0.0.0.0/0"), "10.245.0.1"), Route(ip_network("::/0"), "fd00::1")
LINK_LOCAL = Route(ip_network("169.254.0.0/16"), None)
ROUTER = ["router 10.9.0.1 (2 hops towards 192.0.2.1)"]


@pytest.mark.parametrize(
    ("table", "answering", "called"),
    [
        (ISOLATED, [], [["near"], [], []]),
        (ISOLATED, ["near"], [["near"]]),
        ([*ISOLATED, LINK_LOCAL], [], [["near"], ["169.254.169.254"], []]),
        ([*ISOLATED, LINK_LOCAL], ["169.254.169.254"], [["near"], ["169.254.169.254"]]),
        ([*ISOLATED, DEFAULT], [], [["near"], ["169.254.169.254"], ["192.0.2.1"]]),
        ([*ISOLATED, DEFAULT], ["192.0.2.1"], [["near"], ["169.254.169.254"], ["192.0.2.1"]]),
        ([*ISOLATED, DEFAULT6], [], [["near"], [], ["2001:db8::1"]]),
    ],
)
def test_an_address_is_tried_only_if_there_is_a_route_and_nothing_nearer_answers(monkeypatch, table, answering, called):
    tried = []

    def look(addresses):
        tried.append(addresses)
        return [address for address in addresses if address in answering]

    monkeypatch.setattr(probe, "read_routes", lambda: table)
    monkeypatch.setattr(probe, "find_targets", lambda _: [("tcp", "near", 1)])
    monkeypatch.setattr(probe, "reach", lambda targets: look([t[1] for t in targets]))
    monkeypatch.setattr(probe, "trace", look)
    assert probe.find_reachable() == answering
    assert tried == called


def test_the_probe_of_a_pod_that_loads_foreign_code(monkeypatch, capsys):
    monkeypatch.setattr(probe, "WAIT_SECONDS", 0.0)
    for found, code, message in (
        (list, 0, ""),
        (lambda: ROUTER, 2, f"{ROUTER[0]} answered for"),
        (lambda: routes._parse("nonsense"), 130, "cannot determine"),
    ):
        monkeypatch.setattr(probe, "find_reachable", found)
        with pytest.raises(SystemExit) as ended:
            probe.main()
        assert ended.value.code == code
        assert message in capsys.readouterr().err


HEADER = "=IBBBBII"  # struct sock_extended_err: number, origin, type, code, padding, two values
EXPIRED = struct.pack(HEADER, 113, 2, 11, 0, 0, 0, 0) + struct.pack("=HH4s8x", 2, 0, bytes([10, 9, 0, 1]))
EXPIRED_6 = struct.pack(HEADER, 113, 3, 3, 0, 0, 0, 0) + struct.pack("=HHI16sI", 10, 0, 0, b"\xfd" + 15 * b"\1", 0)


@pytest.mark.parametrize(
    ("level", "data", "router"),
    [
        (socket.IPPROTO_IP, EXPIRED, "10.9.0.1"),
        (socket.IPPROTO_IPV6, EXPIRED_6, "fd01:101:101:101:101:101:101:101"),
        (socket.IPPROTO_IP, b"\x6f\0\0\0\2\3\3" + EXPIRED[7:], None),  # port unreachable: a firewall may say so
        (socket.IPPROTO_IP, b"\x71\0\0\0\1" + EXPIRED[5:], None),  # an error of this machine
    ],
)
def test_a_router_is_named_only_if_the_hops_of_a_packet_were_used_up(level, data, router):
    class Channel:
        def recvmsg(self, *_):
            return b"", [(level, 11, data)], 0, None

    assert hops._read_expiry(Channel()) == router


def test_an_address_that_answers_in_another_way_is_no_router():
    """Loopback answers "port unreachable"."""
    assert hops.trace(["127.0.0.1", "::1"]) == []


def test_accepted_and_refused_connections_count_as_reached():
    assert probe.reach([("tcp", "127.0.0.1", 9)]) == ["tcp 127.0.0.1:9"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe.reach([("tcp", "127.0.0.1", port)]) == [f"tcp 127.0.0.1:{port}"]
