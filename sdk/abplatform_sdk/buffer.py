"""Events that wait for the server, and the account of what became of each."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice

from .counts import Account
from .events import LightExposure, Unsendable, encode_light_exposure

_MOST_REASONS = 64
_REJECTED = "rejected:"


class EventBuffer:
    """A bounded queue of events: many threads put, one sender looks at the head and settles it.

    The head stays in the queue until its fate is known, so that an attempt that fails changes nothing. An event comes
    encoded, by `put`, or light: then the sender encodes it, once, and the request path pays for one append, without a
    lock. Appending is atomic, and the account is derived from the length of the queue. How to append stands in
    `Recorder.build_assign`. Threads that do so at the same moment can pass the bound by one event each.

    ``max_bytes`` bounds the encoded ones; ``wake`` tells the sender (see `arm`), and says whether it will look.

    Attributes:
        light: the newest events, not yet encoded or just put.
        room: so many may stand in ``light``.
        wake_at: so many there call the sender.
        urgent: the last mark that was made: the sender does not wait for company for what is before it.
        on_encoded: called for each light event that was looked at, also for one that cannot be sent.
    """

    def __init__(self, *, max_events: int, max_bytes: int, wake: Callable[[], bool]) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._wake = wake
        self.light: deque[LightExposure | bytes] = deque()
        self.on_encoded: Callable[[], None] = lambda: None
        self._sealed: str | None = None
        self._closed: str | None = None
        self.renew()

    def renew(self) -> None:
        """Begin empty, with new locks and a new account: what a fork left here belongs to the parent."""
        self._changed = threading.Condition(threading.RLock())
        self.light.clear()
        self._ready: deque[bytes] = deque()
        self._bytes = 0
        self._delivered = 0
        self._reasons: dict[str, int] = {}
        self._settled = self.urgent = 0
        self.room: float = -1 if self._sealed else self._max_events
        self.wake_at: float = 1

    def __len__(self) -> int:
        return len(self.light) + len(self._ready)

    def put(self, event: bytes) -> bool:
        with self._changed:
            if len(self.light) >= self.room or self._bytes + len(event) > self._max_bytes:
                return self.drop_for_room()
            self._bytes += len(event)
            self.light.append(event)
        if len(self.light) >= self.wake_at:
            self.call_sender()
        return True

    def refuse(self, reason: str) -> None:
        with self._changed:
            self._count(reason, 1)

    def drop_for_room(self) -> bool:
        with self._changed:
            self.refuse(self._sealed or "queue_full")
        return False

    def call_sender(self) -> None:
        """Wake the sender; after `close`, drop what came too late."""
        if self._closed:
            with self._changed:
                self._empty(self._closed)
            return
        will_look = False
        try:
            self._call_at(math.inf)
            will_look = self._wake()
        finally:
            # No thread to be had, or what a signal handler raised: the next event calls again.
            if not will_look:
                self._call_at(1)

    def arm(self, waiting: float) -> int:
        """Call `wake` once when so many events wait that have not been looked at; gives how many wait by now."""
        self._call_at(waiting)
        # In this order: an event that came before `wake_at` was set is seen here.
        return len(self)

    def head(self, *, most: int, most_bytes: int) -> list[bytes]:
        """The first events, at most so many and so large, but at least one if there is one."""
        while len(self._ready) < most and self._encode_next():
            pass
        with self._changed:
            events = list(islice(self._ready, most))
        size = 0
        for index, event in enumerate(events):
            size += len(event)
            if size > most_bytes and index > 0:
                return events[:index]
        return events

    def settle(self, count: int, rejected: Mapping[str, int]) -> None:
        """The first ``count`` events have their answer: ``rejected`` of them by reason (``rejected:CODE``), the rest
        delivered.
        """
        with self._changed:
            if self._closed:
                return
            for _ in range(count):
                self._bytes -= len(self._ready.popleft())
            self._delivered += count - sum(rejected.values())
            for reason, number in rejected.items():
                self._count(reason, number)
            self._settle(count)

    def seal(self, reason: str = "closed") -> None:
        """Drop what comes from now on, for ``reason``; what waits can still be sent."""
        with self._changed:
            self._sealed = reason
            self.room = -1

    def close(self, reason: str) -> None:
        """Drop what still waits, for ``reason``."""
        with self._changed:
            self._sealed = self._sealed or "closed"
            self._closed = reason
            self.room = -1
            # A thread may have found room just before: what it appends now calls the sender, and is dropped there.
            self.wake_at = 0
            self._empty(reason)

    def mark(self) -> int:
        """A mark behind the last event, which makes all before it urgent; `wait` waits until that is settled."""
        with self._changed:
            self.urgent = self._settled + len(self)
            return self.urgent

    def reached(self, mark: int) -> bool:
        return self._settled >= mark

    def wait(self, mark: int, deadline: float) -> bool:
        """Wait until everything before ``mark`` is settled, at most until ``deadline`` (monotonic clock)."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settled >= mark, timeout=max(deadline - time.monotonic(), 0.0))

    def account(self) -> Account:
        with self._changed:
            # Everything follows from these three, so that it balances even in a signal handler.
            reasons, delivered, pending = Counter(self._reasons.copy()), self._delivered, len(self)
        rejected = sum(number for reason, number in reasons.items() if reason.startswith(_REJECTED))
        dropped = reasons.total() - rejected
        return Account(delivered + rejected + dropped + pending, delivered, rejected, dropped, pending, reasons)

    def _call_at(self, waiting: float) -> None:
        with self._changed:
            # After `close` every event calls, to be dropped.
            if not self._closed:
                self.wake_at = waiting

    def _encode_next(self) -> bool:
        """Make the first event ready; False if there is none. Nobody else takes from that end, but `close`."""
        try:
            event = self.light[0]
        except IndexError:
            return False
        encoded = event if isinstance(event, bytes) else _encode(event)
        with self._changed:
            if self._closed:
                return False
            self.light.popleft()
            if encoded is not event:
                self.on_encoded()
            if isinstance(encoded, Unsendable):
                self.refuse(encoded.reason)
                self._settle(1)
                return True
            if encoded is not event:
                self._bytes += len(encoded)
            self._ready.append(encoded)
            self._measure_room()
        return True

    def _measure_room(self) -> None:
        if not self._sealed:
            self.room = self._max_events - len(self._ready)

    def _settle(self, count: int) -> None:
        self._settled += count
        self._measure_room()
        self._changed.notify_all()

    def _empty(self, reason: str) -> None:
        left = 0
        for queue in (self._ready, self.light):
            # One by one, since a thread may append to it at this moment.
            while queue:
                queue.popleft()
                left += 1
        self._bytes = 0
        if left:
            self._count(reason, left)
            self._settle(left)

    def _count(self, reason: str, number: int) -> None:
        reasons = self._reasons
        # Rejection codes come from outside: their number is bounded too.
        if reason.startswith(_REJECTED) and reason not in reasons and len(reasons) >= _MOST_REASONS:
            reason = f"{_REJECTED}OTHER"
        # Without a call in between, after which a signal handler could count as well.
        try:
            reasons[reason] += number
        except KeyError:
            reasons[reason] = number


def _encode(event: LightExposure) -> bytes | Unsendable:
    try:
        return encode_light_exposure(event)
    except Unsendable as error:
        return error
    except Exception:  # noqa: BLE001 (one that cannot be encoded must not stop those behind it)
        return Unsendable("error")
