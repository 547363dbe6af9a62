"""The routing tables of the kernel."""

import errno
import socket
import struct
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

_ROUTES, _ROUTES6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200
"""Source: linux/route.h."""


class Route(NamedTuple):
    """One line of the routing table."""

    network: IPv4Network | IPv6Network
    gateway: str | None


def is_routed(address: str, routes: list[Route]) -> bool:
    """Return whether the kernel has a route to this address."""
    return any(ip_address(address) in route.network for route in routes)


def gateways(routes: list[Route]) -> list[str]:
    """Return the gateways of the routing table, and the first address of each attached IPv4 network."""
    gateways = {route.gateway for route in routes if route.gateway}
    attached = [route.network for route in routes if isinstance(route.network, IPv4Network) and route.network.prefixlen]
    return sorted(gateways | {str(network.network_address + 1) for network in attached if network.num_addresses > 1})


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
