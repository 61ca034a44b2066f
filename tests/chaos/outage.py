"""S-2 to S-7: the server is away, old, or was never there."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from abplatform_sdk import Client, Decision

from tests.chaos.guest import Guest
from tests.chaos.remote import EVENTS, Remote
from tests.chaos.row import Row, progress
from tests.sdk.server import KEY
from tests.sdk.snapshots import rule, snapshot

UNITS = [f"u-{number}" for number in range(5000)]
QUICK: dict[str, Any] = {"poll_interval": 0.05, "connect_timeout": 0.5, "read_timeout": 0.5, "close_timeout": 0.0}


def measure() -> Iterator[Row]:
    """Take the server away at each moment of a client's life."""
    with Remote() as remote:
        yield _outage(remote)
        yield _older(remote)
        yield _cold_start(remote)
        yield _damaged_copies(remote)
    yield from _a_million()


def _decide(client: Client) -> list[Decision]:
    return [client.evaluate("rate-display", unit) for unit in UNITS]


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("did not come true within 30 seconds")
        time.sleep(0.01)


def _until_failed(client: Client, times: int) -> None:
    _until(lambda: client.stats().poll_failures >= times)


def _outage(remote: Remote) -> Row:
    client = Client(remote.url, KEY, cache_dir=None, **QUICK)
    client.wait_ready(5)
    known = _decide(client)
    remote.ask("stop")
    changes = 0
    for failures in range(1, 40, 3):
        _until_failed(client, failures)
        changes += sum(one != other for one, other in zip(_decide(client), known, strict=True))
    remote.ask("start")
    remote.ask("publish", snapshot(8))
    _until(lambda: client.stats().snapshot_version == 8)
    changes += sum(one != other for one, other in zip(_decide(client), known, strict=True))
    client.close()
    count = f"{len(UNITS)} units over 40 failed looks, and after the server came back"
    return Row("S-2", "decisions that change in an outage: 0", f"{changes} ({count})", changes == 0)


def _older(remote: Remote) -> Row:
    client = Client(remote.url, KEY, cache_dir=None, **QUICK)
    client.wait_ready(5)
    known = _decide(client)
    remote.ask("publish", snapshot(6, rate_display=rule(status="paused")))
    _until_failed(client, 10)
    changes = sum(one != other for one, other in zip(_decide(client), known, strict=True))
    version = client.stats().snapshot_version
    remote.ask("publish", snapshot(8))
    client.close()
    holds = (changes, version) == (0, 8)
    return Row("S-3", "decisions that change by an older snapshot: 0", f"{changes}, version {version} stays", holds)


def _cold_start(remote: Remote) -> Row:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        client = Client(remote.url, KEY, cache_dir=cache, **QUICK)
        client.wait_ready(5)
        known = _decide(client)
        client.close()
        remote.ask("stop")
        began = time.perf_counter()
        client = Client(remote.url, KEY, cache_dir=cache, **QUICK)
        first = client.evaluate("rate-display", UNITS[0])
        seconds = time.perf_counter() - began
        found = [first, *_decide(client)[1:]]
        client.close()
        remote.ask("start")
    defaults = sum(decision.variant is None for decision in found)
    changes = sum(one != other for one, other in zip(found, known, strict=True))
    measured = f"{defaults} defaults, {changes} changes, first answer after {seconds * 1000:.1f} ms"
    asked = "start with the server down and a disk copy: 0 defaults, within 1 s"
    return Row("S-4", asked, measured, defaults == changes == 0 and seconds < 1)


def _damaged_copies(remote: Remote) -> Row:
    draw = random.Random(5)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        client = Client(remote.url, KEY, cache_dir=cache, **QUICK)
        client.wait_ready(5)
        client.close()
        remote.ask("stop")
        (file,) = Path(cache).iterdir()
        sound = file.read_bytes()
        raised, believed, slowest, damages = 0, 0, 0.0, list(_damages(sound, draw))
        for damage in damages:
            file.write_bytes(damage)
            began = time.perf_counter()
            try:
                client = Client(remote.url, KEY, cache_dir=cache, **QUICK)
                believed += client.assign("rate-display", "u-1", default=7).payload != 7
                client.close(0)
            except Exception:  # noqa: BLE001 (any at all is a miss)
                raised += 1
            slowest = max(slowest, time.perf_counter() - began)
        remote.ask("start")
    measured = f"{raised} exceptions, {believed} believed, of {len(damages)}; slowest {slowest * 1000:.0f} ms"
    asked = "damaged disk copies: 0 exceptions, 0 believed, start within 1 s"
    return Row("S-5", asked, measured, raised == believed == 0 and slowest < 1)


def _damages(sound: bytes, draw: random.Random) -> Iterator[bytes]:
    yield from (b"", b"\n", b"\0" * 4096, b"{}", sound.partition(b"\n")[2], b"[" * 100_000, b"x" * 20_000_000)
    yield json.dumps(snapshot(99)).encode()
    yield from (sound[: draw.randrange(len(sound))] for _ in range(150))
    yield from (sound + draw.randbytes(draw.randint(1, 9)) for _ in range(50))
    for _ in range(300):
        place = draw.randrange(len(sound))
        yield sound[:place] + bytes([sound[place] ^ 1 << draw.randrange(8)]) + sound[place + 1 :]


def _a_million() -> Iterator[Row]:
    calls = 1_000_000
    with Remote() as remote, Guest("a_million", url=remote.url, calls=calls) as guest:
        guest.hear()
        remote.ask("forget")
        remote.ask("stop")
        guest.go_on()
        progress("a million exposures and a million conversions into the void")
        figures = guest.hear()
        remote.ask("start")
        guest.go_on()
        end = guest.hear()
        guest.go_on()
        arrived = [sum(remote.ask("units", path).values()) for path in EVENTS]
    memory = figures["memory"]
    yield Row("S-6", "a million exposures, as many conversions: at most 60 MB", f"+{memory:.1f} MB", memory <= 60)
    waiting = figures["waiting"]
    yield Row("S-6", "of each kind at most 10,000 wait", f"{waiting} wait", 0 < waiting <= 20_000)
    for name in ("assign", "track"):
        measured = f"99th percentile {figures[name]:.2f} us, mean {figures[f'{name}_mean']:.2f} us"
        yield Row("S-6", f"{name} with a full queue under 50 us", measured, figures[name] < 50)
    produced, delivered, dropped = end["produced"], end["delivered"], end["dropped"]
    exact = delivered + dropped == produced == 2 * calls + 1 and delivered - 1 == sum(arrived) == waiting
    measured = f"{delivered} + {dropped} == {produced}, {sum(arrived)} of {waiting} that waited arrived"
    yield Row("S-7", "delivered + dropped == produced, and all that waits arrives later", measured, exact)
