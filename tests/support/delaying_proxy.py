"""
HTTP proxy in front of Consul that delays writes to the catalog while a file exists.

Usage: ``python -m tests.support.delaying_proxy PORT FILE``. Requests to its port of 127.0.0.1 go to port 8500. While
the file exists, a fenced transaction is held, also after its client has ended. The proxy prints the start of each held
transaction, and the response to it after the file was removed.
"""

from __future__ import annotations

import http.client
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


class Forwarder(BaseHTTPRequestHandler):
    """Forward one request at a time of a client."""

    protocol_version = "HTTP/1.1"
    hold = Path()

    def do_GET(self) -> None:
        self.forward()

    def do_PUT(self) -> None:
        self.forward()

    def forward(self) -> None:
        """Send the request to Consul, and its response to the client."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        held = self.path.startswith("/v1/txn") and b'"check-session"' in body and self.hold.exists()
        if held:
            _report("Holding a transaction")
            while self.hold.exists():
                time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", 8500, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if held:
            _report(f"Response to a held transaction: {response.status} {b' '.join(content.split()).decode()}")
        try:
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True


def _report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(port: int, hold: str) -> None:
    """Serve until the process is killed."""
    Forwarder.hold = Path(hold)
    ThreadingHTTPServer(("127.0.0.1", port), Forwarder).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
