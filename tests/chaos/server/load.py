"""Senders: batches of 1 to 1000, some events twice, shuffled, old ids with other bodies, again until acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.chaos.server.ledger import EXPERIMENT, KINDS, VARIANTS, Event, Ledger
from tests.chaos.server.metrics import CHANNELS, EVENTS

SENDERS = 6
_RETRIED = {0, 429, 503, 507}
_PAUSE = 0.03
# While the server is away, as clients with a backoff do.
_BACKOFF = 0.25
_REMEMBERED = 2000
# So many events must be acknowledged before the first fault, between any two, and after the last.
FEWEST = 100
_LONGEST_WAIT = 60.0


class Sender(threading.Thread):
    """One connection's worth of traffic.

    Args:
        number: makes its ids and units its own.
        port: of the server.
        key: may send events.
        ledger: is told all.
        largest: most events of a batch.
    """

    def __init__(self, number: int, *, port: int, key: str, ledger: Ledger, largest: int = 1000) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self._number, self._port, self._key, self._ledger, self._largest = number, port, key, ledger, largest
        self._chance = random.Random(number)
        self._waiting: dict[str, list[Event]] = {kind: [] for kind in KINDS}
        self._done: dict[str, deque[Event]] = {kind: deque(maxlen=_REMEMBERED) for kind in KINDS}
        self._connection: http.client.HTTPConnection | None = None
        self._made, self._abandoned = 0, False
        self._tried: set[str] = set()
        self.go, self.idle, self.last = threading.Event(), threading.Event(), threading.Event()
        self.go.set()

    def run(self) -> None:
        """Send until it is the last time, then until all is acknowledged."""
        while not self._abandoned and (not self.last.is_set() or any(self._waiting.values())):
            if not self.go.is_set():
                self.idle.set()
                self.go.wait()
                self.idle.clear()
            if not self.last.is_set():
                self._make()
            for kind in KINDS:
                self._send(kind)
            time.sleep(self._chance.random() * _PAUSE)
        self.idle.set()
        self._hang_up()

    def abandon(self) -> None:
        """End after the request under way, whatever waits."""
        self._abandoned = True
        self.go.set()

    def _make(self) -> None:
        if len(self._waiting["conversion"]) > 5 * self._largest:
            return  # The server has been away for a while.
        for _ in range(self._chance.choice((1, 10, 100, self._largest // 2))):
            self._made += 1
            name = f"{self._number}-{self._made}"
            self._waiting["exposure"].append(self._expose(name))
            for number in range(self._chance.choice((1, 1, 1, 2))):
                self._waiting["conversion"].append(self._convert(name, number))

    def _expose(self, name: str) -> Event:
        unit = f"unit-{name}"
        body = {
            "event_id": f"x-{name}",
            "unit_id": unit,
            "timestamp": datetime.now(UTC).isoformat(),
            "experiment": EXPERIMENT,
            "phase": 1,
            "variant": self._ledger.variant_of(unit),
            "attributes": {"channel": self._chance.choice(CHANNELS), "undeclared": name},
        }
        return Event("exposure", f"x-{name}", unit, body)

    def _convert(self, name: str, number: int) -> Event:
        """No two are alike: in value, unit or properties they differ from all others."""
        unit, id_ = f"unit-{name}", f"c-{name}-{number}"
        body = {
            "event_id": id_,
            "unit_id": unit,
            "timestamp": datetime.now(UTC).isoformat(),
            "event": self._chance.choice(EVENTS),
            "value": str(Decimal(self._chance.randrange(1, 10**9)) / 10**6),
            "properties": {"channel": self._chance.choice(CHANNELS), "number": number, "of": name},
        }
        return Event("conversion", id_, unit, body)

    def _send(self, kind: str) -> None:
        """One batch of what waits, in any order, with events that were sent before."""
        waiting = self._waiting[kind]
        self._chance.shuffle(waiting)
        batch = waiting[: self._chance.choice((1, 10, 100, self._largest))]
        if not batch:
            return
        self._ledger.begin(batch)
        again, others = self._old_ones(kind, len(batch))
        twice = batch[: len(batch) // 50]
        # Those that have never been acknowledged come first: they are always among those that fit.
        events = (batch + others + twice + again)[: self._largest]
        changed = len(events[len(batch) : len(batch) + len(others)])
        self._chance.shuffle(events)
        retried = sum(event.id in self._tried for event in batch)
        self._ledger.ask(repeated=len(events) - len(batch) - changed, changed=changed, retried=retried)
        if self._deliver(kind, events):
            self._ledger.keep(batch)
            self._done[kind].extend(batch)
            self._tried.difference_update(event.id for event in batch)
            del waiting[: len(batch)]
        else:
            self._tried.update(event.id for event in batch)

    def _old_ones(self, kind: str, size: int) -> tuple[list[Event], list[Event]]:
        """Some that were acknowledged, and some of their ids with another body."""
        done = self._done[kind]
        again = self._chance.sample(done, min(len(done), size // 10))
        others = self._chance.sample(done, min(len(done), size // 100 + 1))
        return again, [replace(event, body=event.body | self._other(event)) for event in others]

    def _other(self, event: Event) -> dict[str, Any]:
        """Another value of one of the event's fields, as good as the first."""
        body = event.body
        later = datetime.fromisoformat(body["timestamp"]) + timedelta(milliseconds=1)
        others: dict[str, Any] = {"unit_id": f"not-{event.unit}", "timestamp": later.isoformat()}
        if event.kind == "exposure":
            others |= {
                "variant": next(each for each in VARIANTS if each != body["variant"]),
                "attributes": {"channel": "another"},
            }
        else:
            others |= {
                "value": str(Decimal(body["value"]) + 1),
                "event": next(each for each in EVENTS if each != body["event"]),
                "properties": body["properties"] | {"channel": "another"},
            }
        name = self._chance.choice(sorted(others))
        return {name: others[name]}

    def _deliver(self, kind: str, events: list[Event]) -> bool:
        body = json.dumps({"events": [event.body for event in events]})
        status, answer = self._request(f"/api/v1/{kind}s", body)
        self._ledger.answered(status)
        if status == 202:
            counts = json.loads(answer)
            if counts["accepted"] != len(events):
                self._ledger.wonder(f"{len(events)} sent, {counts}")
            return True
        if status not in _RETRIED:
            self._ledger.wonder(f"{status} {answer[:300]!r}")
        time.sleep(self._chance.uniform(_PAUSE, _BACKOFF))
        return False

    def _request(self, path: str, body: str) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if self._connection is not None and _is_closed(self._connection):
            self._hang_up()
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            with suppress(BrokenPipeError):
                # A server may answer, and hang up, before it has the whole body.
                self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return 0, b""

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has hung up since its last answer: between requests there is nothing else to read."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


class Load:
    """Several senders at once, and their account.

    Attributes:
        between: events that were acknowledged before the first fault, between each two, and after the last.
    """

    def __init__(self, senders: list[Sender], ledger: Ledger) -> None:
        self._senders, self.ledger = senders, ledger
        self.between: list[int] = []
        self._counted = ledger.total()

    def hold(self) -> None:
        """Wait until no request is under way, and send none."""
        for sender in self._senders:
            sender.go.clear()
        for sender in self._senders:
            if not sender.idle.wait(60):
                raise RuntimeError("a request does not end")

    def go_on(self) -> None:
        """Send again."""
        for sender in self._senders:
            sender.idle.clear()
            sender.go.set()

    def acknowledge_some(self) -> None:
        """Send until enough is acknowledged since the last fault, or for a minute; notes how many it was."""
        self.go_on()
        deadline = time.monotonic() + _LONGEST_WAIT
        while (total := self.ledger.total()) < self._counted + FEWEST and time.monotonic() < deadline:
            time.sleep(0.01)
        self.between.append(total - self._counted)

    def count_anew(self) -> None:
        """A fault is over: what is acknowledged from now on is after it."""
        self._counted = self.ledger.total()

    def send_for(self, seconds: float) -> Counter[int]:
        """Send for a while, with nothing under way before and after; number of answers by status, 0 for none."""
        before = Counter(self.ledger.statuses)
        self.go_on()
        time.sleep(seconds)
        self.hold()
        return self.ledger.statuses - before

    def finish(self, seconds: float = 120) -> None:
        """Make no new events, and send the others until all are acknowledged.

        Raises:
            RuntimeError: if they are not in time.
        """
        for sender in self._senders:
            sender.last.set()
        self.go_on()
        deadline = time.monotonic() + seconds
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))
            if sender.is_alive():
                raise RuntimeError(f"events were not acknowledged within {seconds:g} s")


@contextmanager
def sending(port: int, key: str, ledger: Ledger, *, senders: int = SENDERS, largest: int = 1000) -> Iterator[Load]:
    """Senders that run until the end of the block."""
    threads = [Sender(n, port=port, key=key, ledger=ledger, largest=largest) for n in range(senders)]
    for thread in threads:
        thread.start()
    try:
        yield Load(threads, ledger)
    finally:
        for thread in threads:
            thread.abandon()
        for thread in threads:
            thread.join(40)
