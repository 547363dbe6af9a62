"""Check of the network access: try to reach the addresses that a program would try first.

``python -m fusionrun_stages.sandbox.probe`` waits until nothing answers, for at most 30 seconds: it exits with 0 if the
network is closed, with 2 and a message that names what answered if it is not, and with 130 if that is unknown. It needs
only the standard library.

1. The API server, gateways and name servers of this pod, by TCP and DNS.
2. If none answers and there is a route: the metadata service of clouds, by TCP.
3. If that does not answer, either, and there is a route to the internet: packets to a documentation address that live
   for two to five hops. A router beyond the node that answers "time exceeded" proves that the pod's packets leave the
   node. The packets end at this router, so strangers receive nothing.

Not found: a network that closes the addresses of 1 and 2 and forwards to the internet over routers that send no such
answer. Only packets to a server on the internet could show it.
"""

import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from fusionrun_stages.errors import InfrastructureError, StageError, UserError
from fusionrun_stages.sandbox.hops import trace
from fusionrun_stages.sandbox.routes import Route, gateways, is_routed, read_routes

WAIT_SECONDS = 30.0
"""A network plugin may apply a NetworkPolicy some seconds after the pod has started."""
SECONDS = 1.0
"""Timeout. In a cluster a reply takes milliseconds."""
PORTS = (443, 6443, 10250, 22, 80)
"""API server, kubelet, SSH, HTTP: the ports on which a node usually listens."""

Target = tuple[str, str, int]
"""``tcp`` or ``dns``, address, port."""

METADATA: Target = ("tcp", "169.254.169.254", 80)
"""A cloud's metadata service, which issues credentials."""
INTERNET = ("192.0.2.1", "2001:db8::1")
"""Addresses for documentation, which no host has. Source: RFC 5737 and RFC 3849."""


def find_reachable() -> list[str]:
    """Return the addresses that answer; empty if there is no network access.

    Raise OSError or ValueError if the routing table cannot be read: the network access is unknown then.
    """
    routes = read_routes()
    return (
        reach(find_targets(routes))
        or reach([METADATA] if is_routed(METADATA[1], routes) else [])
        or trace([address for address in INTERNET if is_routed(address, routes)])
    )


def wait_until_closed(find: Callable[[], list[str]], seconds: float = WAIT_SECONDS) -> list[str]:
    """Repeat a check until nothing answers or the time is over; return what answered in the last one."""
    deadline = time.monotonic() + seconds
    while (reached := find()) and time.monotonic() < deadline:
        time.sleep(1.0)
    return reached


def require_closed_network() -> None:
    """Check that this pod has no network access, before foreign code is loaded.

    Raise UserError if an address answers, InfrastructureError if the network access cannot be determined.
    """
    try:
        reached = wait_until_closed(find_reachable, WAIT_SECONDS)
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
    targets += [("tcp", host, port) for host in gateways(routes) for port in PORTS]
    for server in _name_servers():
        targets += [("dns", server, 53), ("tcp", server, 53)]
    return targets


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
