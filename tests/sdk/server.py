"""A small server that keeps the contract of snapshot and event calls, and breaks it on request."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

KEY = "sdk-key-1"
CERTIFICATE = Path(__file__).with_name("loopback.pem")
SNAPSHOT = "/api/v1/snapshot"
EXPOSURES = "/api/v1/exposures"
CONVERSIONS = "/api/v1/conversions"

# Fields that an event must have, and those that it may have, for each shape of an event.
_FIELDS = {
    EXPOSURES: (
        ({"event_id", "experiment", "phase", "variant", "unit_id", "timestamp"}, {"attributes", "units"}),
        ({"event_id", "experiment", "phase", "variant", "units", "timestamp"}, {"attributes"}),
        ({"event_id", "holdout", "group", "unit_id", "timestamp"}, {"units"}),
    ),
    CONVERSIONS: (
        ({"event_id", "event", "unit_id", "timestamp"}, {"value", "properties", "units"}),
        ({"event_id", "event", "units", "timestamp"}, {"value", "properties"}),
    ),
}

Answer = Callable[["Handler"], None]


class Request(NamedTuple):
    """One request as it arrived; ``body`` unpacked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a batch."""
        return json.loads(self.body)["events"] if self.body else []


class PlatformServer:
    """Serves one project on a loopback port; may stop and start again on the same port."""

    def __init__(self, snapshot: dict[str, Any], *, tls: bool = False, context: ssl.SSLContext | None = None) -> None:
        self.snapshot = snapshot
        self.requests: list[Request] = []
        self.taken: dict[str, dict[str, dict[str, Any]]] = {EXPOSURES: {}, CONVERSIONS: {}}
        self.next_answers: dict[str, deque[Answer]] = defaultdict(deque)
        self.answers: dict[str, Answer] = {}
        self.let_go = threading.Event()
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
        self._context = context
        self._server: _HTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen."""
        self._server = _HTTPServer(("127.0.0.1", self._port), Handler)
        self._server.platform = self
        self._server.context = self._context
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None and self._thread is not None:
            self.let_go.set()
            self._server.shutdown()
            self._thread.join()
            self._server.close_connections()
            self._server.server_close()
            self._server = None

    def sent(self, path: str) -> list[Request]:
        """The requests to ``path``, in order."""
        return [request for request in list(self.requests) if request.path == path]

    def answer(self, request: Request, handler: Handler) -> None:
        """Answer as told, else by the contract."""
        queued = self.next_answers[request.path]
        answer = queued.popleft() if queued else self.answers.get(request.path)
        if answer is not None:
            answer(handler)
        elif request.headers.get("Authorization") != f"Bearer {KEY}":
            problem(401)(handler)
        elif request.method == "GET":
            self._answer_snapshot(request, handler)
        else:
            self.take(request, handler)

    def take(self, request: Request, handler: Handler) -> None:
        """Store a batch and acknowledge it."""
        handler.reply(202, json.dumps(self.store(request)).encode())

    def store(self, request: Request) -> dict[str, Any]:
        """Store a batch as the platform does: once per id. Gives the receipt."""
        shapes = _FIELDS[request.path]
        assert len(request.events) <= 1000
        rejected = []
        for index, event in enumerate(request.events):
            if not any(needed <= set(event) <= needed | further for needed, further in shapes):
                rejected.append({"index": index, "code": "BAD_FIELD", "detail": str(sorted(event))})
            elif event.get("unit_id", "").startswith("bad-"):
                rejected.append({"index": index, "code": "BAD_UNIT", "detail": "unit_id: bad"})
            else:
                self.taken[request.path].setdefault(event["event_id"], event)
        return {"accepted": len(request.events) - len(rejected), "rejected": rejected}

    def _answer_snapshot(self, request: Request, handler: Handler) -> None:
        body = json.dumps(self.snapshot).encode()
        etag = f'"v{self.snapshot["version"]}"'
        if request.headers.get("If-None-Match") == etag:
            handler.reply(304, b"", ETag=etag)
        else:
            handler.reply(200, body, ETag=etag)


class _HTTPServer(ThreadingHTTPServer):
    platform: PlatformServer
    context: ssl.SSLContext | None = None
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[Any, Any]:
        """Accept; a client that went away before it could be wrapped leaves no socket behind."""
        accepted, address = self.socket.accept()
        if self.context is None:
            return accepted, address
        try:
            # The handshake belongs to the connection's own thread.
            return self.context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address
        except OSError:
            accepted.close()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are part of the tests."""

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Handler(BaseHTTPRequestHandler):
    """Reads one request, remembers it and lets the platform answer."""

    protocol_version = "HTTP/1.1"
    # Head and body are two packets: the second would wait 40 ms for the client's word that it has the first.
    disable_nagle_algorithm = True
    server: _HTTPServer

    def do_GET(self) -> None:
        """Snapshot."""
        self._serve()

    def do_POST(self) -> None:
        """Events."""
        self._serve()

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.request_read = Request(self.command, self.path, dict(self.headers), body)
        self.server.platform.requests.append(self.request_read)
        self.server.platform.answer(self.request_read, self)


def problem(status: int, **headers: str) -> Answer:
    """A problem document with ``status``."""
    body = json.dumps({"status": status, "code": "TOLD_TO", "title": "as the test asked"}).encode()
    return lambda handler: handler.reply(status, body, Content_Type="application/problem+json", **headers)


def body(content: bytes, status: int = 200, **headers: str) -> Answer:
    """Any body."""
    return lambda handler: handler.reply(status, content, **headers)


def hang(handler: Handler) -> None:
    """Answer nothing until the server stops."""
    handler.server.platform.let_go.wait(30)
    handler.close_connection = True


def reset(handler: Handler) -> None:
    """Break the connection without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def half_body(handler: Handler) -> None:
    """Promise 1000 bytes, send 10."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"schema_v')
    handler.close_connection = True


def garbage(handler: Handler) -> None:
    """Something that is not HTTP."""
    handler.wfile.write(b"\x00\xff not http at all\r\n\r\n")
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """One byte of an endless header now and then, so that no single read times out."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while not handler.server.platform.let_go.wait(0.05):
        handler.wfile.write(b"a")
    handler.close_connection = True


def drip_body(handler: Handler) -> None:
    """As `drip`, after the header."""
    handler.send_response(200)
    handler.end_headers()
    drip(handler)


def endless(handler: Handler) -> None:
    """A body without an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    chunk = b" " * 1_000_000
    while not handler.server.platform.let_go.is_set():
        handler.wfile.write(chunk)


def lose_receipt(handler: Handler) -> None:
    """Store the batch, then break the connection: the client cannot know."""
    handler.server.platform.store(handler.request_read)
    reset(handler)
