"""A product that real servers run, and the handle by which a test starts, asks and stops them.

Its client is made when the module is imported: before the fork, where the server forks.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3
from abplatform_sdk import Client
from abplatform_sdk.middleware import AsgiMiddleware, WsgiMiddleware, current

from tests.sdk.server import KEY

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ADDRESS = re.compile(r"127\.0\.0\.1:([1-9]\d*)")

if "HOSTED_URL" in os.environ:
    # Events wait for the end of the process, unless something sends them earlier.
    client = Client(
        os.environ["HOSTED_URL"],
        KEY,
        cache_dir=None,
        poll_interval=float(os.environ["HOSTED_POLL_INTERVAL"]),
        flush_interval=float(os.environ.get("HOSTED_FLUSH_INTERVAL", "60")),
        close_timeout=5,
    )
    if os.environ.get("HOSTED_WARM"):
        assert client.wait_ready(5)
        client.track("boot", "master")


def answer() -> bytes:
    """Who answers, and what is decided for the unit of this request."""
    client.wait_ready(5)
    decision = current().assign("rate-display")
    current().track("viewed")
    version = client.stats().snapshot_version
    return json.dumps({"pid": os.getpid(), "variant": decision.variant, "version": version}).encode()


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer()]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer()})


if "HOSTED_URL" in os.environ:
    application = WsgiMiddleware(wsgi_app, client, unit=lambda environ: environ["QUERY_STRING"])
    asgi_application = AsgiMiddleware(asgi_app, client, unit=lambda scope: scope["query_string"].decode())


class Host:
    """A server process that runs the product."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[str] = []
        self.port = 0
        self._is_listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._http = urllib3.PoolManager(maxsize=8, retries=urllib3.Retry(connect=20, backoff_factor=0.05))

    def wait(self) -> None:
        """Wait until it listens: from then on requests queue."""
        assert self._is_listening.wait(30), "".join(self.printed)

    def ask(self, unit: str) -> dict[str, Any]:
        """One request on a connection of its own, so that any process may take it."""
        url = f"http://127.0.0.1:{self.port}/?{unit}"
        response = self._http.request("GET", url, headers={"Connection": "close"}, timeout=10)
        assert response.status == 200, "".join(self.printed)
        return response.json()

    def ask_all(self, units: list[str]) -> list[dict[str, Any]]:
        """Requests from eight threads at a time."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self.ask, units))

    def find_processes(self, count: int, *, version: int = 0) -> set[int]:
        """Ask about a few units until so many processes have answered, with this version or a later one; 10 seconds."""
        deadline = time.monotonic() + 10
        found: set[int] = set()
        while len(found) < count:
            assert time.monotonic() < deadline, "".join(self.printed)
            answers = self.ask_all([f"again-{number}" for number in range(8)])
            found |= {answer["pid"] for answer in answers if answer["version"] >= version}
        return found

    def stop(self) -> int:
        """Ask it to end in good order; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.finish()

    def finish(self) -> None:
        """End it, in whatever order."""
        self._http.clear()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join(5)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed.append(line)
                if found := ADDRESS.search(line):
                    self.port = int(found.group(1))
                    self._is_listening.set()


@contextmanager
def hosting(command: list[str], url: str, *, listens: bool = True, **settings: str) -> Iterator[Host]:
    """Run a server with the product until the end of the block.

    Args:
        command: the program, with its path, and its arguments.
        url: of the platform.
        listens: whether it says on which port of loopback it listens.
        settings: further environment variables.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ABPLATFORM_")}
    environment |= {"HOSTED_URL": url, "HOSTED_POLL_INTERVAL": "0.05", "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
    process = subprocess.Popen(
        command,
        env=environment | {"PYTHONUNBUFFERED": "1"} | settings,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    host = Host(process)
    try:
        if listens:
            host.wait()
        yield host
    finally:
        host.finish()
