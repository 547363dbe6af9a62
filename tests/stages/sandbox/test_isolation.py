"""The checks before the first program: no network access, and isolation between programs.

No test connects to an address of another machine.
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
        started.append(
            multiprocessing.get_context("fork").Process(target=runner.serve, args=(tmp_path / "runner.sock",))
        )
        started[0].start()

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
        monkeypatch.setattr(probe, name, path)
    monkeypatch.setattr(probe, "_has_ipv6", lambda: ipv6)


def test_the_routing_tables_of_the_kernel_are_parsed(monkeypatch, tmp_path):
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
    assert len(probe.read_routes()) == 2


@pytest.mark.parametrize(
    ("routes", "near", "outside"),
    [
        (ISOLATED, [], []),
        (ISOLATED, ["tcp 10.245.0.1:443"], None),
        ([*ISOLATED, Route(ip_network("169.254.0.0/16"), None)], [], ["169.254.169.254"]),
        ([*ISOLATED, Route(ip_network("0.0.0.0/0"), "10.245.0.1")], [], ["169.254.169.254", "192.0.2.1"]),
        ([*ISOLATED, Route(ip_network("::/0"), "fd00::1")], [], ["2001:db8::1"]),
    ],
)
def test_addresses_outside_the_cluster_are_tried_only_if_there_is_a_route(monkeypatch, routes, near, outside):
    """They are not tried if an address in the cluster has answered."""
    called = []
    monkeypatch.setattr(probe, "read_routes", lambda: routes)
    monkeypatch.setattr(probe, "find_targets", lambda _: [("tcp", "near", 1)])
    monkeypatch.setattr(probe, "reach", lambda targets: called.append([t[1] for t in targets]) or near)
    assert probe.find_reachable() == near
    assert called == [["near"], *([outside] if outside is not None else [])]


def test_accepted_and_refused_connections_count_as_reached():
    assert probe.reach([("tcp", "127.0.0.1", 9)]) == ["tcp 127.0.0.1:9"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe.reach([("tcp", "127.0.0.1", port)]) == [f"tcp 127.0.0.1:{port}"]
