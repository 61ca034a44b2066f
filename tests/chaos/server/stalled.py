"""F-11: uploads that stall; all other requests must go on as before."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.chaos.row import Figures, Row, progress
from tests.chaos.server.installation import Installation
from tests.chaos.server.ledger import EXPERIMENT, Event, Ledger
from tests.chaos.server.metrics import CHANNELS, EVENTS
from tests.chaos.server.scene import a_scene, compare

COUNTS = (150, 600)
MOST_SECONDS = 1.0
PROBES = 60
_BODY = b'{"events": [{"event_id": "stalled'


def measure() -> Iterator[Row]:
    """Stall ever more uploads, in every part of a request."""
    workers = str(os.cpu_count() or 1)
    for number in ("1", workers):
        with a_scene(settings={"ABPLATFORM_WORKERS": number}) as (installation, ledger):
            for count in COUNTS:
                yield from stall(installation, ledger, count, f"{number} server processes")


def stall(installation: Installation, ledger: Ledger, count: int, where: str) -> Iterator[Row]:
    """Other requests while so many uploads stall."""
    probes: dict[str, Callable[[], bool]] = {
        "health": lambda: installation.ask("GET", "/healthz", timeout=30)[0] == 200,
        "snapshot": lambda: installation.ask("GET", "/api/v1/snapshot", timeout=30)[0] == 200,
        "events": lambda: _send_event(installation, ledger),
    }
    quiet = {name: _time(probe) for name, probe in probes.items()}
    with _stalled_uploads(installation, count):
        for name, probe in probes.items():
            seconds, answered = _time(probe)
            progress(f"{count} stalled, {name}: {seconds:.3f} s, without {quiet[name][0]:.3f} s")
            measured = f"{seconds * 1000:.0f} ms (without them {quiet[name][0] * 1000:.0f} ms), {answered} of {PROBES}"
            asked = f"{count} stalled uploads, {where}: {name} p95 under {MOST_SECONDS:g} s, all well"
            yield Row("F-11", asked, measured, seconds < MOST_SECONDS and answered == quiet[name][1] == PROBES)
    account = compare(installation, ledger, complete=True)
    whole = account.sound and account.events == ledger.total() > 0
    what = f"{count} stalled uploads, {where}"
    figures = Figures(what, count, ledger.total(), account.lost, account.twice, account.altered)
    yield Row("F-11", f"{what}: nothing of theirs is taken, of the others all", str(account), whole, figures)


def _send_event(installation: Installation, ledger: Ledger) -> bool:
    """Send a new event, an exposure and a conversion in turns; whether it was accepted."""
    number = len(ledger.sent["exposure"]) + len(ledger.sent["conversion"])
    unit = f"probe-{number // 2}"
    body: dict[str, Any] = {"event_id": f"probe-{number}", "unit_id": unit, "timestamp": datetime.now(UTC).isoformat()}
    channel = {"channel": CHANNELS[number % len(CHANNELS)]}
    own: dict[str, Any]
    if number % 2:
        kind, own = "conversion", {"event": EVENTS[number % len(EVENTS)], "value": str(number), "properties": channel}
    else:
        variant = ledger.variant_of(unit)
        own = {"experiment": EXPERIMENT, "phase": 1, "variant": variant, "attributes": channel}
        kind = "exposure"
    event = Event(kind, body["event_id"], unit, body | own)
    ledger.begin([event])
    status, answer = installation.ask("POST", f"/api/v1/{kind}s", {"events": [event.body]}, timeout=30)
    accepted = status == 202 and answer["accepted"] == 1 and not answer["rejected"]
    if accepted:
        ledger.keep([event])
    return accepted


def _time(probe: Callable[[], bool]) -> tuple[float, int]:
    """95th percentile of the seconds of some requests, and how many went well."""
    seconds, answered = [], 0
    for _ in range(PROBES):
        began = time.perf_counter()
        answered += probe()
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
