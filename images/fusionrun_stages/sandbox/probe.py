"""Check of the network access: try to reach the addresses that a program would try first.

Addresses outside the cluster are tried only if none in the cluster answers and the routing table has a route to them:
an isolated pod sends no packet.

``python -m fusionrun_stages.sandbox.probe`` waits until nothing answers, for at most 30 seconds: it exits with 0 if the
network is closed, with 2 and a message that names what answered if it is not, and with 130 if that is unknown.
"""

import errno
import os
import select
import socket
import struct
import sys
import time
from contextlib import closing
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple, NoReturn

from fusionrun_stages.errors import InfrastructureError, StageError, UserError

WAIT_SECONDS = 30.0
"""A network plugin may apply a NetworkPolicy some seconds after the pod has started."""
SECONDS = 1.0
"""Timeout. In a cluster a reply takes milliseconds."""
PORTS = (443, 6443, 10250, 22, 80)
"""API server, kubelet, SSH, HTTP: the ports on which a node usually listens."""

Target = tuple[str, str, int]
"""``tcp`` or ``dns``, address, port."""

OUTSIDE: tuple[Target, ...] = (
    ("tcp", "169.254.169.254", 80),
    ("tcp", "192.0.2.1", 443),
    ("tcp", "2001:db8::1", 443),
)
"""A cloud's metadata service, which issues credentials, and two addresses that represent the internet.
Source: RFC 5737 and RFC 3849, addresses for documentation."""

_ROUTES, _ROUTES6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200
"""Source: linux/route.h."""


class Route(NamedTuple):
    """One line of the routing table."""

    network: IPv4Network | IPv6Network
    gateway: str | None


def find_reachable() -> list[str]:
    """Return the addresses that answer; empty if there is no network access.

    Raise OSError or ValueError if the routing table cannot be read: the network access is unknown then.
    """
    routes = read_routes()
    in_cluster = reach(find_targets(routes))
    return in_cluster or reach([target for target in OUTSIDE if is_routed(target[1], routes)])


def require_closed_network() -> None:
    """Check that this pod has no network access, before foreign code is loaded.

    Raise UserError if an address answers, InfrastructureError if the network access cannot be determined.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while (reached := find_reachable()) and time.monotonic() < deadline:
            time.sleep(1.0)
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"cannot determine whether this pod has network access: {error}") from error
    if reached:
        raise UserError(
            f"this pod has network access ({', '.join(reached)} answered for {WAIT_SECONDS:.0f} s), and foreign code "
            "would run in it: use a network plugin that enforces the run's NetworkPolicy, and no other policy that "
            "allows this pod's traffic"
        )


def find_targets(routes: list[Route]) -> list[Target]:
    """Return the API server's service, the gateways and the name servers of this pod."""
    api = os.environ.get("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    targets: list[Target] = [("tcp", api, int(os.environ.get("KUBERNETES_SERVICE_PORT", "443")))]
    targets += [("tcp", host, port) for host in _gateways(routes) for port in PORTS]
    for server in _name_servers():
        targets += [("dns", server, 53), ("tcp", server, 53)]
    return targets


def is_routed(address: str, routes: list[Route]) -> bool:
    """Return whether the kernel has a route to this address."""
    return any(ip_address(address) in route.network for route in routes)


def reach(targets: list[Target]) -> list[str]:
    """Return the targets that answered; a refused connection counts as an answer."""
    answered = _connect([target for target in targets if target[0] == "tcp"])
    answered += [target for target in targets if target[0] == "dns" and _resolves(target[1], target[2])]
    return [f"{protocol} {host}:{port}" for protocol, host, port in answered]


def _connect(targets: list[Target]) -> list[Target]:
    """Start all connections, wait once, and return those that were accepted or refused."""
    pending: dict[int, tuple[socket.socket, Target]] = {}
    reached = []
    poll = select.poll()
    for target in targets:
        family = socket.AF_INET6 if ":" in target[1] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = connection.connect_ex(target[1:])
        if code in (0, errno.ECONNREFUSED):
            reached.append(target)
        if code == errno.EINPROGRESS:
            pending[connection.fileno()] = connection, target
            poll.register(connection, select.POLLOUT)
        else:
            connection.close()
    while pending:
        events = poll.poll(SECONDS * 1000)
        for descriptor, _ in events:
            connection, target = pending.pop(descriptor)
            poll.unregister(descriptor)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                reached.append(target)
            connection.close()
        if not events:
            break
    for connection, _ in pending.values():
        connection.close()
    return reached


def _resolves(server: str, port: int) -> bool:
    """Send a DNS query for the API server's name; any reply means that there is network access."""
    name = b"".join(bytes([len(part)]) + part for part in (b"kubernetes", b"default", b"svc", b"cluster", b"local"))
    query = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack(">2H", 1, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as channel:
        channel.settimeout(SECONDS)
        try:
            channel.connect((server, port))
            channel.send(query)
            return bool(channel.recv(512))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False


def read_routes() -> list[Route]:
    """Return the usable routes of IPv4 and IPv6.

    Raise OSError or ValueError if a routing table is missing or has an unknown format. Without IPv6 its table may be
    missing.
    """
    lines = _ROUTES.read_text(encoding="ascii").splitlines()
    routes = [route for line in lines[1:] if (route := _parse(line)) is not None]
    if _has_ipv6():
        lines = _ROUTES6.read_text(encoding="ascii").splitlines()
        routes += [route for line in lines if (route := _parse6(line)) is not None]
    return routes


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return False
        raise
    return True


def _parse(line: str) -> Route | None:
    """Parse ``eth0 0011A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0``; addresses are in the machine's byte order."""
    _, destination, gateway, flags, _, _, _, mask, *_ = line.split()
    if not _is_usable(flags):
        return None
    first, length = _address(destination), int(mask, 16).bit_count()
    return Route(ip_network((first, length)), _address(gateway) if int(gateway, 16) else None)


def _parse6(line: str) -> Route | None:
    """Parse ``DESTINATION 40 SOURCE 00 GATEWAY METRIC REFERENCES USE FLAGS eth0``."""
    destination, length, _, _, gateway, _, _, _, flags, device = line.split()
    if device == "lo" or not _is_usable(flags):
        return None
    network = ip_network((bytes.fromhex(destination), int(length, 16)), strict=False)
    via = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(gateway)) if int(flags, 16) & _GATEWAY else None
    return Route(network, f"{via}%{device}" if via and via.startswith("fe80:") else via)


def _is_usable(flags: str) -> bool:
    return int(flags, 16) & (_UP | _REJECT) == _UP


def _address(word: str) -> str:
    return socket.inet_ntoa(struct.pack("=I", int(word, 16)))


def _gateways(routes: list[Route]) -> list[str]:
    """Return the gateways of the routing table, and the first address of each attached IPv4 network."""
    gateways = {route.gateway for route in routes if route.gateway}
    attached = [route.network for route in routes if isinstance(route.network, IPv4Network) and route.network.prefixlen]
    return sorted(gateways | {str(network.network_address + 1) for network in attached if network.num_addresses > 1})


def _name_servers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def main() -> NoReturn:
    """Check this pod's network and exit."""
    try:
        require_closed_network()
    except StageError as error:
        print(error, file=sys.stderr)  # noqa: T201 (the last lines of the pod's log)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
