"""S-8, S-9 and S-15: events on a way that loses answers, refuses batches, and cannot carry everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from abplatform_sdk import Client

from tests.chaos.remote import Remote
from tests.chaos.row import Row
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY
from tests.sdk.test_decisions import HOSTILE

OPTIONS: dict[str, Any] = {"cache_dir": None, "flush_interval": 0.02, "batch_size": 100, "close_timeout": 1.0}


def measure() -> Iterator[Row]:
    """Send events on bad ways."""
    with Remote() as remote:
        for check in (_lost_receipts, _poison, _all_refused, _unserialisable):
            yield from check(remote)
            remote.ask("lift")
            remote.ask("forget")


def _lost_receipts(remote: Remote) -> Iterator[Row]:
    remote.ask("fault", "lost receipts", (EXPOSURES, CONVERSIONS))
    client = Client(remote.url, KEY, **OPTIONS)
    client.wait_ready(5)
    for number in range(3000):
        client.assign("rate-display", f"u-{number}")
        client.track("purchase", f"u-{number}")
        if number % 100 == 99:
            client.flush(10)
    pending = client.flush(30).pending
    client.close()
    for path in (EXPOSURES, CONVERSIONS):
        ids, units = remote.ask("ids_of_units", path), remote.ask("units", path)
        asked = f"{path.rpartition('/')[2]}, every other receipt lost: same ids, each once"
        measured = f"{len(units)} of 3000 units, at most {ids} id each, in {remote.ask('requests', path)} requests"
        yield Row("S-8", asked, measured, (len(units), ids, pending, max(units.values())) == (3000, 1, 0, 1))


def _poison(remote: Remote) -> Iterator[Row]:
    remote.ask("fault", "poison is refused", (CONVERSIONS,))
    client = Client(remote.url, KEY, **OPTIONS | {"flush_interval": 60.0, "batch_size": 1000})
    for number in range(3000):
        client.track("purchase", "poison" if number % 1000 == 500 else f"u-{number}")
    client.flush(60)
    stats = client.stats()
    client.close()
    requests, units = remote.ask("requests", CONVERSIONS), remote.ask("units", CONVERSIONS)
    exact = (stats.delivered, stats.rejected, stats.pending, len(units)) == (2997, 3, 0, 2997)
    measured = f"{len(units)} arrived, {dict(stats.reasons)}, {requests} requests"
    yield Row("S-9", "3 events of 3000 spoil their batches: all others arrive", measured, exact and requests < 100)


def _all_refused(remote: Remote) -> Iterator[Row]:
    for name in ("everything is refused", "everything is too large"):
        remote.ask("forget")
        remote.ask("fault", name, (CONVERSIONS,))
        client = Client(remote.url, KEY, **OPTIONS | {"batch_size": 500})
        for number in range(5000):
            client.track("purchase", f"u-{number}")
        time.sleep(10)
        requests = remote.ask("requests", CONVERSIONS)
        client.close(0)
        stats = client.stats()
        exact = stats.rejected + stats.dropped + stats.delivered == 5000
        measured = f"{requests} requests in 10 s, {dict(stats.reasons)}"
        yield Row("S-9", f"{name}: no hot loop, accounted", measured, exact and requests <= 25)


def _unserialisable(remote: Remote) -> Iterator[Row]:
    client = Client(remote.url, KEY, **OPTIONS)
    client.wait_ready(5)
    bad = 0
    for number in range(1000):
        client.track("purchase", f"good-{number}")
        for make in HOSTILE.values():
            client.track("purchase", "bad-unit", properties={"a": make()})
            client.assign("rate-display", f"a\0{number}")
            bad += 1
        client.assign("rate-display", f"good-{number}")
    pending = client.flush(30).pending
    stats = client.stats()
    client.close()
    arrived = [sum(unit.startswith("good-") for unit in remote.ask("units", path)) for path in (EXPOSURES, CONVERSIONS)]
    account = client._delivery.conversions.buffer.account()
    exact = account.delivered + account.rejected + account.dropped == 1000 + bad and pending == 0
    measured = f"{arrived} arrived, {dict(stats.reasons)}"
    asked = f"1000 good events of each kind among {bad} that cannot be sent: all arrive"
    yield Row("S-15", asked, measured, exact and arrived == [1000, 1000])
