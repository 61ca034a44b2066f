"""The server as it is deployed: granian around ``abplatform.wsgi:app``, with what only a real socket can send."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from abplatform import wsgi
from abplatform.bootstrap import build_platform
from abplatform.services import access
from abplatform.settings import Settings
from tests.api.documents import conversion_body, metric_body

START_SECONDS = 60
ROOT = Path(__file__).parents[2]
THREADS = 3
IMPATIENT = """
from abplatform.api import silence
silence.SILENT_SECONDS = 1.0
from abplatform.wsgi import app
"""


@dataclass
class Server:
    """A running server and a key that opens everything."""

    port: int
    secret: str

    def send(self, data: bytes, *, then_close: bool = False) -> bytes:
        """Send bytes as they are; gives all that comes back until the server closes or is silent."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection, suppress(OSError):
            connection.sendall(data)
            if then_close:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        return received

    def head(self, line: str, *headers: str) -> bytes:
        """The first part of a request with our key."""
        lines = [line, "Host: localhost", f"Authorization: Bearer {self.secret}", "Connection: close", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ABPLATFORM_")}
    environment |= {"ABPLATFORM_HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{home}"}
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--blocking-threads", str(THREADS)]
    # The same server, which takes a second for what is half a minute else.
    (home / "impatient.py").write_text(IMPATIENT)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([*command, "impatient:app"], env=environment, cwd=home, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(process, port, home / "log")
        with build_platform(Settings(home=home)) as platform, platform.uow.begin() as work:
            secret = access.ensure_admin_key(work, "default", now=platform.now())
        assert secret is not None
        yield Server(port, secret)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = Server(port, "").send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            assert b" 200 " in answer.partition(b"\r\n")[0], answer
            return
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def test_the_embedded_server_needs_nothing_before_it(server: Server) -> None:
    answer = server.send(server.head("GET /api/v1/experiments HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'{"items":[],"next_cursor":null}' in answer


def test_importing_the_module_opens_nothing() -> None:
    assert not hasattr(wsgi, "application")
    assert wsgi.build_app.cache_info().currsize == 0


def test_chunked_bodies_are_read(server: Server) -> None:
    body = json.dumps(conversion_body()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:10], body[10:])) + b"0\r\n\r\n"
    head = server.head(
        "POST /api/v1/conversions HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"
    )
    answer = server.send(head + chunks)
    assert answer.startswith(b"HTTP/1.1 202"), answer
    assert b'{"accepted":1,"rejected":[]}' in answer


ATTACKS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "chunk size in words": (("Transfer-Encoding: chunked",), b"zzz\r\n{}\r\n0\r\n\r\n"),
    "negative chunk": (("Transfer-Encoding: chunked",), b"-5\r\n{}\r\n0\r\n\r\n"),
    "huge chunk": (("Transfer-Encoding: chunked",), b"ffffffffffffffff\r\n{}\r\n"),
    "chunk shorter than it says": (("Transfer-Encoding: chunked",), b'10\r\n{"key":\r\n0\r\n\r\n'),
    "no last chunk": (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n"),
    "length and chunks": (("Transfer-Encoding: chunked", "Content-Length: 5"), b"2\r\n{}\r\n0\r\n\r\n"),
    "two lengths": (("Content-Length: 2", "Content-Length: 5"), b"{}   "),
    "length in words": (("Content-Length: many",), b"{}"),
    "negative length": (("Content-Length: -1",), b"{}"),
    "body shorter than its length": (("Content-Length: 1000",), b'{"key": "x"'),
    "huge length": (("Content-Length: 99999999999",), b"{}"),
    "chunked twice": (("Transfer-Encoding: chunked, chunked",), b"2\r\n{}\r\n0\r\n\r\n"),
    "line break in a header": (("X-A: a\nX-B: b",), b"{}"),
    "nul in a header": (("X-A: a\0b",), b"{}"),
    "header without a name": ((": x",), b"{}"),
    "100 kB header": (("X-A: " + "a" * 100_000,), b"{}"),
    "2000 headers": (tuple(f"X-{number}: a" for number in range(2000)), b"{}"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_broken_requests_get_one_answer_below_500_or_none(server: Server, attack: str) -> None:
    headers, body = ATTACKS[attack]
    head = server.head("POST /api/v1/metrics HTTP/1.1", "Content-Type: application/json", *headers)
    answer = server.send(head + body, then_close=True)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer
    assert b"Traceback" not in answer
    assert server.send(server.head("GET /healthz HTTP/1.1")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "line",
    ["GET", "GET /", "GET / HTTP/9.9", "\0", "GET http://evil/ HTTP/1.1", "GET /%zz HTTP/1.1", "get /healthz HTTP/1.1"],
)
def test_broken_request_lines_do_no_harm(server: Server, line: str) -> None:
    answer = server.send(server.head(line), then_close=True)
    assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert server.send(server.head("GET /healthz HTTP/1.1")).startswith(b"HTTP/1.1 200")


def test_a_second_request_in_the_same_connection_is_not_mistaken_for_a_body(server: Server) -> None:
    body = json.dumps(metric_body()).encode()
    first = server.head("POST /api/v1/metrics HTTP/1.1", f"Content-Length: {len(body)}").replace(
        b"Connection: close\r\n", b""
    )
    second = server.head("GET /healthz HTTP/1.1")
    answer = server.send(first + body + second)
    assert answer.startswith(b"HTTP/1.1 415"), "no content type"
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b'{"status":"ok"}' in answer


def test_uploads_that_go_silent_give_their_threads_back(server: Server) -> None:
    head = server.head("POST /api/v1/conversions HTTP/1.1", "Content-Type: application/json", "Content-Length: 9")
    # The second time they take the lane of what products send all day: the key is known by then.
    for _ in range(2):
        with ExitStack() as stack:
            address = ("127.0.0.1", server.port)
            stalled = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(2 * THREADS)]
            for connection in stalled:
                connection.sendall(head + b'{"e')
            time.sleep(0.3)
            # Each of them holds a thread or waits for one: nobody else gets one before they are given up.
            assert server.send(server.head("GET /api/v1/experiments HTTP/1.1")).startswith(b"HTTP/1.1 200")
            for connection in stalled:
                with suppress(ConnectionResetError):
                    answer = connection.recv(65_536)
                    assert not answer or answer.startswith(b"HTTP/1.1 400"), answer
