"""What must stand before the first program: no network, and a kernel that keeps programs apart.

Nothing here calls an address that is not this machine's own.
"""

import multiprocessing
import socket
import sys
import time
from ipaddress import ip_network

import pytest

from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.sandbox import isolation, probe, runner
from fusionrun_stages.sandbox.isolation import Isolation, check_isolation
from fusionrun_stages.sandbox.probe import Route

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

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
def ask(monkeypatch, tmp_path):
    """Return what starts a runner whose probe does what is given, so that nothing is sent anywhere."""
    monkeypatch.delenv("FUSIONRUN_SANDBOX_PROBE", raising=False)
    monkeypatch.setenv("FUSIONRUN_SANDBOX_SOCKET", str(tmp_path / "runner.sock"))
    monkeypatch.setattr(isolation, "NETWORK_SECONDS", 0.0)
    started = []

    def start(look):
        monkeypatch.setattr(probe, "find_reachable", look)
        started.append(
            multiprocessing.get_context("fork").Process(target=runner.serve, args=(tmp_path / "runner.sock",))
        )
        started[0].start()

    yield start
    for process in started:
        process.terminate()
        process.join()


def test_an_open_network_stops_everything_and_says_what_to_do(ask):
    ask(lambda: ["tcp 10.96.0.1:443"])
    with pytest.raises(
        UserError, match=r"tcp 10.96.0.1:443 answered .* scheduling.sandboxRuntimeClassName .* NetworkPolicy"
    ):
        check_isolation()


def test_the_probe_cannot_be_switched_off_in_a_pod(ask, monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROBE", "off")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    ask(lambda: ["tcp 10.96.0.1:443"])
    with pytest.raises(UserError):
        check_isolation()


def test_a_network_policy_may_take_some_seconds(ask, monkeypatch):
    monkeypatch.setattr(isolation, "NETWORK_SECONDS", 30.0)
    closed = time.monotonic() + 1.5
    ask(lambda: [] if time.monotonic() > closed else ["tcp 10.96.0.1:443"])
    assert check_isolation().runtime_class is None
    assert time.monotonic() > closed


def test_what_cannot_be_told_is_no_proof(ask):
    def look():
        raise PermissionError("/proc/net/route")

    ask(look)
    with pytest.raises(InfrastructureError, match=r"cannot determine .*/proc/net/route"):
        check_isolation()


def test_without_landlock_only_a_runtime_class_will_do(monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROBE", "off")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(isolation, "landlock_version", lambda: 0)
    with pytest.raises(UserError, match=r"no Landlock .* scheduling.sandboxRuntimeClassName"):
        check_isolation()
    monkeypatch.setenv("FUSIONRUN_SANDBOX_RUNTIME_CLASS", "gvisor")
    assert check_isolation() == Isolation(0, "gvisor")


def test_without_landlock_a_program_has_no_neighbour(monkeypatch):
    monkeypatch.setenv("FUSIONRUN_SANDBOX_PROGRAMS", "2")
    assert [Isolation(version, "gvisor").programs_at_once for version in (0, 7)] == [1, 2]


def write_routes(monkeypatch, tmp_path, *, ipv6=True):
    for name, text in (("_ROUTES", ROUTES), ("_ROUTES6", ROUTES6)):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(probe, name, path)
    monkeypatch.setattr(probe, "_has_ipv6", lambda: ipv6)


def test_routes_are_read_as_the_kernel_writes_them(monkeypatch, tmp_path):
    write_routes(monkeypatch, tmp_path)
    assert probe.read_routes() == [
        Route(ip_network("0.0.0.0/0"), "10.244.0.1"),
        Route(ip_network("10.244.0.0/16"), None),
        Route(ip_network("fd00::/64"), None),
        Route(ip_network("::/0"), "fe80::1%eth0"),
    ]
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    hosts = {host for protocol, host, _ in probe.find_targets(probe.read_routes()) if protocol == "tcp"}
    assert {"10.96.0.1", "10.244.0.1", "fe80::1%eth0"} <= hosts


@pytest.mark.parametrize("name", ["_ROUTES", "_ROUTES6"])
@pytest.mark.parametrize("text", [None, "eth0 nonsense\neth0 nonsense\n"])
def test_a_routing_table_that_cannot_be_read_is_no_proof(monkeypatch, tmp_path, name, text):
    write_routes(monkeypatch, tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises((OSError, ValueError)):
        probe.find_reachable()


def test_a_kernel_without_ipv6_needs_no_table_of_it(monkeypatch, tmp_path):
    write_routes(monkeypatch, tmp_path, ipv6=False)
    (tmp_path / "_ROUTES6").unlink()
    assert len(probe.read_routes()) == 2


@pytest.mark.parametrize(
    ("routes", "near", "asked"),
    [
        (ISOLATED, [], []),
        (ISOLATED, ["tcp 10.245.0.1:443"], None),
        ([*ISOLATED, Route(ip_network("169.254.0.0/16"), None)], [], ["169.254.169.254"]),
        ([*ISOLATED, Route(ip_network("0.0.0.0/0"), "10.245.0.1")], [], ["169.254.169.254", "192.0.2.1"]),
        ([*ISOLATED, Route(ip_network("::/0"), "fd00::1")], [], ["2001:db8::1"]),
    ],
)
def test_what_is_outside_is_called_only_where_a_route_leads_there(monkeypatch, routes, near, asked):
    """And never when something near has answered already."""
    called = []
    monkeypatch.setattr(probe, "read_routes", lambda: routes)
    monkeypatch.setattr(probe, "find_targets", lambda _: [("tcp", "near", 1)])
    monkeypatch.setattr(probe, "reach", lambda targets: called.append([t[1] for t in targets]) or near)
    assert probe.find_reachable() == near
    assert called == [["near"], *([asked] if asked is not None else [])]


def test_a_refused_connection_counts_as_reached():
    assert probe.reach([("tcp", "127.0.0.1", 9)]) == ["tcp 127.0.0.1:9"]


def test_an_accepted_connection_counts_as_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe.reach([("tcp", "127.0.0.1", port)]) == [f"tcp 127.0.0.1:{port}"]
