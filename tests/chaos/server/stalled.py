"""F-11: uploads that stall; all other requests must go on as before."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.chaos.row import Row, progress
from tests.chaos.server.installation import Installation
from tests.chaos.server.scene import a_scene

COUNTS = (150, 600)
MOST_SECONDS = 1.0
PROBES = 60
_BODY = b'{"events": [{"event_id": "stalled'


def measure() -> Iterator[Row]:
    """Stall ever more uploads, in every part of a request."""
    workers = str(os.cpu_count() or 1)
    for number in ("1", workers):
        with a_scene(settings={"ABPLATFORM_WORKERS": number}) as (installation, _):
            for count in COUNTS:
                yield from stall(installation, count, f"{number} server processes")


def stall(installation: Installation, count: int, where: str) -> Iterator[Row]:
    """Other requests while so many uploads stall."""
    event = {
        "events": [{"event_id": "probe", "event": "purchase", "unit_id": "u", "timestamp": "2026-01-01T00:00:00Z"}]
    }
    probes: dict[str, Callable[[], tuple[int, Any]]] = {
        "health": lambda: installation.ask("GET", "/healthz", timeout=30),
        "snapshot": lambda: installation.ask("GET", "/api/v1/snapshot", timeout=30),
        "events": lambda: installation.ask("POST", "/api/v1/conversions", event, timeout=30),
    }
    quiet = {name: _time(probe) for name, probe in probes.items()}
    with _stalled_uploads(installation, count):
        for name, probe in probes.items():
            seconds, answered = _time(probe)
            progress(f"{count} stalled, {name}: {seconds:.3f} s, without {quiet[name][0]:.3f} s")
            measured = f"{seconds * 1000:.0f} ms (without them {quiet[name][0] * 1000:.0f} ms), {answered} of {PROBES}"
            asked = f"{count} stalled uploads, {where}: {name} p95 under {MOST_SECONDS:g} s, all answered"
            yield Row("F-11", asked, measured, seconds < MOST_SECONDS and answered == PROBES)


def _time(probe: Callable[[], tuple[int, Any]]) -> tuple[float, int]:
    """95th percentile of the seconds of some requests, and how many succeeded."""
    seconds, answered = [], 0
    for _ in range(PROBES):
        began = time.perf_counter()
        answered += 200 <= probe()[0] < 300
        seconds.append(time.perf_counter() - began)
        time.sleep(0.01)
    return sorted(seconds)[int(0.95 * PROBES)], answered


@contextmanager
def _stalled_uploads(installation: Installation, count: int) -> Iterator[None]:
    """Connections that each send a part of a request and then nothing more."""
    head = (
        f"POST /api/v1/conversions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {installation.key}\r\n"
        "Content-Type: application/json\r\n"
    ).encode()
    parts = (
        head + b"Content-Length: 100000\r\n\r\n" + _BODY,
        head + b"Transfer-Encoding: chunked\r\n\r\n21\r\n" + _BODY + b"\r\n",
        head + b"Content-Length: 100000\r\n\r\n",
        head,
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * count)), hard))
    with ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", installation.port), timeout=30))
            connection.sendall(parts[number % len(parts)])
        time.sleep(1)
        yield
