"""A server on the loopback interface that takes all events, in a process of its own so as not to disturb the sender."""

from __future__ import annotations

import gzip
import json
import multiprocessing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")


class Sink:
    """Counts events. Its answers are those that our client and Statsig's take for an acknowledgement."""

    def __init__(self, document: bytes = b"") -> None:
        ours, theirs = _spawn.Pipe()
        self._received = _spawn.Value("q", 0)
        self._process = _spawn.Process(target=_serve, args=(theirs, self._received, document), daemon=True)
        self._process.start()
        theirs.close()
        self.url = f"http://127.0.0.1:{ours.recv()}"

    @property
    def received(self) -> int:
        """How many events have come."""
        return int(self._received.value)

    def stop(self) -> None:
        """Listen no more."""
        self._process.terminate()
        self._process.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    document = b""
    received: Any

    def do_GET(self) -> None:
        self._answer(200, self.document)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        events = len(json.loads(body)["events"])
        with self.received.get_lock():
            self.received.value += events
        self._answer(202, json.dumps({"success": True, "accepted": events, "rejected": []}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        """Say nothing."""


def _serve(connection: Connection, received: Any, document: bytes) -> None:
    _Handler.received, _Handler.document = received, document
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    connection.send(server.server_port)
    server.serve_forever()
