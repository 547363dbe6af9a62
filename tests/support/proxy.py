"""A forward proxy that passes TLS connections on (CONNECT), for tests and, as a script, for a pod.

Names that only the proxy knows show that a client used it. It needs the standard library only.

    python proxy.py PORT NAME=HOST:PORT ...
"""

import http.server
import select
import socket
import sys
from contextlib import suppress


class Proxy(http.server.ThreadingHTTPServer):
    """A proxy to the places of some names; ``opened`` has the names that clients asked for."""

    daemon_threads = True

    def __init__(self, address, places):
        super().__init__(address, Handler)
        self.places = places
        self.opened = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self):
        name = self.path.rpartition(":")[0]
        self.server.opened.append(name)
        if name not in self.server.places:
            self.send_error(502, f"{name}: unknown")
            return
        # A client may close its connection at any time.
        with suppress(ConnectionError), socket.create_connection(self.server.places[name]) as there:
            self.send_response(200)
            self.end_headers()
            self.pump(there)

    def pump(self, there):
        ends = {self.connection: there, there: self.connection}
        while True:
            for ready in select.select(list(ends), [], [], 60)[0] or [None]:
                data = ready.recv(65536) if ready else b""
                if not data:
                    return
                ends[ready].sendall(data)

    def log_message(self, text, *values):
        sys.stdout.write(text % values + "\n")
        sys.stdout.flush()


def main(port, *names):
    """Serve until the process is stopped."""
    pairs = dict(name.split("=", 1) for name in names)
    places = {
        name: (host, int(number)) for name, (host, _, number) in ((n, p.rpartition(":")) for n, p in pairs.items())
    }
    Proxy(("", int(port)), places).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
