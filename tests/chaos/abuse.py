"""S-13 and S-14, and every order of the steps of two threads."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from abplatform_sdk import Client, Decision

from tests.chaos.guest import ROOT
from tests.chaos.remote import EVENTS, Remote
from tests.chaos.row import Row, progress
from tests.sdk.accounts import Tally, accounts_for
from tests.sdk.server import KEY
from tests.sdk.test_decisions import HOSTILE

THREADS = 32
EACH = 4000
DEFECTS = ("500", "reset", "half a body", "hang", "page", "429", "lost receipts")


def measure() -> Iterator[Row]:
    """Many threads, hostile arguments, all orders."""
    with Remote() as remote:
        yield _storm(remote)
    with Remote() as remote:
        yield _wakes(remote)
        yield _hostile(remote)
    yield _orders()


def _storm(remote: Remote) -> Row:
    """Threads that switch as often as they can, flush now and then, while the server breaks and dies."""
    progress(f"{THREADS} threads while the server breaks and dies")
    options: dict[str, Any] = {"flush_interval": 0.01, "batch_size": 100, "max_queue": 1_000_000, "read_timeout": 0.2}
    client = Client(remote.url, KEY, cache_dir=None, poll_interval=0.05, **options)
    client.wait_ready(5)
    tally = Tally(THREADS, others=EACH)
    over = threading.Event()

    def work(name: int) -> None:
        draw = random.Random(name)
        for number in range(EACH):
            tally.track(client, name, f"{name}-{number}")
            client.assign("rate-display", f"u-{number}")
            if draw.random() < 0.002:
                client.flush(draw.random() / 100)
            if number % 20 == 0:
                tally.check(client)

    breaking = threading.Thread(target=_break, args=(remote, over))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(name,)) for name in range(THREADS)]
        for thread in [breaking, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        over.set()
        breaking.join()
        sys.setswitchinterval(before)
    pending = client.flush(60).pending
    stats = client.stats()
    client.close()
    exposures, conversions = (remote.ask("units", path) for path in EVENTS)
    exact = len(conversions) == THREADS * EACH and len(exposures) == EACH and pending == 0
    exact = exact and stats.delivered == THREADS * EACH + EACH and accounts_for(stats, THREADS * EACH + EACH)
    twice = sum(count > 1 for units in (exposures, conversions) for count in units.values())
    measured = (
        f"{len(conversions)} conversions and {len(exposures)} units exposed, {twice} twice, "
        f"{stats.dropped} dropped, {len(tally.misses)} accounts other than the calls"
    )
    asked = f"{THREADS} threads x {EACH}, server breaks and dies: {THREADS * EACH} and {EACH}, each once"
    return Row("S-13", asked, measured, exact and twice == 0 and not tally.misses)


def _break(remote: Remote, over: threading.Event) -> None:
    draw = random.Random(13)
    while not over.wait(draw.random() / 5):
        if draw.random() < 0.2:
            remote.ask("stop")
            over.wait(draw.random() / 5)
            remote.ask("start")
        else:
            remote.ask("fault", draw.choice(DEFECTS))
            over.wait(draw.random() / 5)
            remote.ask("lift")


def _wakes(remote: Remote) -> Row:
    """Single events, again and again into a queue that is just becoming empty: each is sent without being asked for."""
    client = Client(remote.url, KEY, cache_dir=None, flush_interval=0.01, poll_interval=3600)
    client.wait_ready(5)
    draw = random.Random(7)
    slowest, number = 0.0, 0
    end = time.monotonic() + 20
    while time.monotonic() < end:
        number += 1
        began = time.monotonic()
        client.assign("rate-display", f"w-{number}")
        while client.stats().pending and time.monotonic() - began < 10:
            time.sleep(0)
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(draw.random() / 2000)
    delivered = client.stats().delivered
    client.close()
    measured = f"{delivered} of {number}, slowest {slowest * 1000:.0f} ms"
    return Row("S-13", "no event waits for a sender that sleeps", measured, delivered == number and slowest < 5)


def _hostile(remote: Remote) -> Row:
    """Hostile values at every place, two at a time."""
    client = Client(remote.url, KEY, cache_dir=None, close_timeout=0)
    client.wait_ready(5)
    raised = wrong = calls = conversions = 0
    for one, other in itertools.product(HOSTILE.values(), repeat=2):
        for call in (client.assign, client.evaluate):
            for arguments, fields in (
                ((one(), other()), {}),
                (("rate-display", one(), other()), {}),
                (("rate-display", one()), {"units": other()}),
                (("rate-display", "u-1", {"channel": one()}), {"units": {"device_id": other()}}),
                (("rate-display", "u-1", one()), {"default": other()}),
            ):
                calls += 1
                try:
                    wrong += type(call(*arguments, **fields)) is not Decision
                except Exception:  # noqa: BLE001 (any at all is a miss)
                    raised += 1
        for fields in ({"value": one(), "properties": other()}, {"units": one(), "timestamp": other()}):
            calls += 1
            conversions += 2
            try:
                client.track(one(), other(), **fields)
                client.track("purchase", "u-1", **fields)
                client.expose(one())
            except Exception:  # noqa: BLE001 (as above)
                raised += 1
    client.close()
    account = client._delivery.conversions.buffer.account()
    counted = account.delivered + account.rejected + account.dropped
    measured = f"{raised} exceptions, {wrong} wrong answers, {counted} of {conversions} conversions accounted for"
    return Row(
        "S-14", f"{calls} calls with hostile arguments: 0", measured, raised == wrong == 0 and counted == conversions
    )


def _orders() -> Row:
    progress("every order of the steps of two threads, and a signal handler at every place")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/sdk/test_races.py"]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"ALL_ORDERS": "1"}, capture_output=True, text=True, check=False
    )
    lines = re.findall(r"^(?:FAILED|\d+ (?:passed|failed)).*$", ran.stdout, re.MULTILINE)
    return Row("S-13", "every order of two threads and of a signal handler", "; ".join(lines), ran.returncode == 0)
