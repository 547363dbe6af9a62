"""Send packets that live for a few hops, and see whether routers beyond the node answer."""

import select
import socket
import struct
import time

SECONDS = 1.0
"""Time to wait for all answers."""
HOPS = (2, 3, 4, 5)
"""From two: the node answers for packets that live for one hop before it applies the policy (Linux, ip_forward)."""
TRACE_PORT = 33434
"""Source: traceroute(8)."""

_IP_RECVERR, _IPV6_RECVERR = 11, 25
"""Source: linux/in.h, linux/in6.h."""
_ERROR_SIZE = 16
"""Size of struct sock_extended_err, which the router's address follows. Source: linux/errqueue.h."""
_TIME_EXCEEDED, _TIME_EXCEEDED_6 = (2, 11, 0), (3, 3, 0)
"""Origin, type and code. Source: linux/errqueue.h, RFC 792, RFC 4443."""


def trace(addresses: list[str]) -> list[str]:
    """Return the routers beyond the node that answer for packets to these addresses."""
    pending: dict[int, tuple[socket.socket, str, int]] = {}
    poll = select.poll()
    for address in addresses:
        for hops in HOPS:
            channel = _send_with_hops(address, hops)
            if channel is not None:
                pending[channel.fileno()] = channel, address, hops
                poll.register(channel, 0)  # POLLERR is always reported
    reached = []
    deadline = time.monotonic() + SECONDS
    while pending and (events := poll.poll(max(0.0, deadline - time.monotonic()) * 1000)):
        for descriptor, _ in events:
            channel, address, hops = pending.pop(descriptor)
            poll.unregister(descriptor)
            router = _read_expiry(channel)
            if router is not None:
                reached.append(f"router {router} ({hops} hops towards {address})")
            channel.close()
    for channel, _, _ in pending.values():
        channel.close()
    return reached


def _send_with_hops(address: str, hops: int) -> socket.socket | None:
    """Send a packet that lives for some hops; return its socket, or None if the kernel refuses to send it."""
    is_6 = ":" in address
    channel = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if is_6:
            channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
            channel.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            channel.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        channel.sendto(b"", (address, TRACE_PORT))
    except OSError:
        channel.close()
        return None
    return channel


def _read_expiry(channel: socket.socket) -> str | None:
    """Return the router that has dropped the packet of this socket because its hops were used up, or None."""
    try:
        _, ancillary, _, _ = channel.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    for level, _, data in ancillary:
        _, origin, kind, code = struct.unpack_from("=IBBB", data)
        if (level, origin, kind, code) == (socket.IPPROTO_IP, *_TIME_EXCEEDED):
            return socket.inet_ntop(socket.AF_INET, data[_ERROR_SIZE + 4 :][:4])
        if (level, origin, kind, code) == (socket.IPPROTO_IPV6, *_TIME_EXCEEDED_6):
            return socket.inet_ntop(socket.AF_INET6, data[_ERROR_SIZE + 8 :][:16])
    return None
