"""A forward proxy on loopback: tunnels for https (CONNECT), whole addresses for http, a password if wanted."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class ForwardProxy:
    """Listens until `stop`.

    Args:
        authorization: the only ``Proxy-Authorization`` that it accepts; None asks for none.
        context: for an https proxy.

    Attributes:
        heads: method, target and headers of each request that the proxy itself could read.
        certificates: what clients of an https proxy showed, one for each of those requests.
        pause: seconds between two bytes of what comes back through a tunnel.
    """

    def __init__(self, *, authorization: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self.heads: list[tuple[str, str, dict[str, str]]] = []
        self.certificates: list[Any] = []
        self.authorization = authorization
        self.pause = 0.0
        self._scheme = "http" if context is None else "https"
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, credentials: str = "") -> str:
        """The URL of the proxy, with what stands before the ``@``."""
        return f"{self._scheme}://{credentials}{'@' if credentials else ''}{self.host}"

    def stop(self) -> None:
        """Close the port and every connection."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_all()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    proxy: ForwardProxy
    daemon_threads = False
    block_on_close = True

    def __init__(self, *args: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are part of the tests."""

    def close_all(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        """Make a tunnel."""
        if not self._is_allowed():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as upstream:
            self.send_response_only(200)
            self.end_headers()
            self._pass_on(upstream)

    def do_GET(self) -> None:
        """Forward a request."""
        if not self._is_allowed():
            return
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kept = [f"{name}: {value}" for name, value in self.headers.items() if not name.startswith("Proxy-")]
        head = "\r\n".join([f"{self.command} {target.path} HTTP/1.1", *kept, "Connection: close", "", ""])
        with socket.create_connection((str(target.hostname), target.port or 80), 5) as upstream:
            upstream.sendall(head.encode() + body)
            _copy(upstream, self.connection)

    def do_POST(self) -> None:
        """Forward a request with a body."""
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""

    def _is_allowed(self) -> bool:
        proxy = self.server.proxy
        proxy.heads.append((self.command, self.path, dict(self.headers)))
        if isinstance(self.connection, ssl.SSLSocket):
            proxy.certificates.append(self.connection.getpeercert())
        self.close_connection = True
        if self.headers.get("Proxy-Authorization") == proxy.authorization:
            return True
        self.send_error(407)
        return False

    def _pass_on(self, upstream: socket.socket) -> None:
        self.server.open.add(upstream)
        back = threading.Thread(target=_copy, args=(upstream, self.connection, self.server.proxy))
        back.start()
        _copy(self.connection, upstream)
        back.join()
        self.server.open.discard(upstream)


def _copy(source: socket.socket, target: socket.socket, proxy: ForwardProxy | None = None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            while proxy is not None and proxy.pause and data:
                target.sendall(data[:1])
                data = data[1:]
                time.sleep(proxy.pause)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
