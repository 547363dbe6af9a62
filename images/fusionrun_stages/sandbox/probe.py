"""Prove that there is no network: try what a program would try first."""

import errno
import os
import select
import socket
import struct
from contextlib import closing
from pathlib import Path

SECONDS = 1.0
"""How long to wait for one answer. Within a cluster it comes in milliseconds."""
PORTS = (443, 6443, 10250, 22, 80)
"""API server, kubelet, SSH, HTTP: where a node answers, if it does."""

Target = tuple[str, str, int]
"""``tcp`` or ``dns``, address, port."""


def find_targets() -> list[Target]:
    """List the API server's service, the gateways, and the name servers, as this pod knows them."""
    api = os.environ.get("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    targets: list[Target] = [("tcp", api, int(os.environ.get("KUBERNETES_SERVICE_PORT", "443")))]
    targets += [("tcp", host, port) for host in _gateways() for port in PORTS]
    for server in _name_servers():
        targets += [("dns", server, 53), ("tcp", server, 53)]
    return targets


def reach(targets: list[Target]) -> list[str]:
    """Return what of the targets answered: a refusal is an answer, too."""
    answered = _connect([target for target in targets if target[0] == "tcp"])
    answered += [target for target in targets if target[0] == "dns" and _resolves(target[1], target[2])]
    return [f"{protocol} {host}:{port}" for protocol, host, port in answered]


def _connect(targets: list[Target]) -> list[Target]:
    """Start all connections at once and wait once; return those that were accepted or refused."""
    pending: dict[int, tuple[socket.socket, Target]] = {}
    found = []
    poll = select.poll()
    for target in targets:
        family = socket.AF_INET6 if ":" in target[1] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = connection.connect_ex(target[1:])
        if code in (0, errno.ECONNREFUSED):
            found.append(target)
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
                found.append(target)
            connection.close()
        if not events:
            break
    for connection, _ in pending.values():
        connection.close()
    return found


def _resolves(server: str, port: int) -> bool:
    """Ask for the API server's name; any answer at all means that packets come and go."""
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


def _gateways() -> list[str]:
    """Return the gateways of the routing table, and the first address of each network of our own."""
    found = set()
    lines = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    for line in lines:
        _, destination, gateway, *_ = line.split()
        for number in (int(gateway, 16), int(destination, 16) + (1 << 24) if int(destination, 16) else 0):
            if number:
                found.add(socket.inet_ntoa(struct.pack("<I", number & 0xFFFFFFFF)))
    return sorted(found)


def _name_servers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]
