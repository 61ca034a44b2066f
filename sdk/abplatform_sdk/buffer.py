"""Events that wait for the server, and the account of what became of each."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

_MOST_REASONS = 64


@dataclass(slots=True)
class Account:
    """Counts of one kind of event: ``produced == delivered + rejected + dropped + pending``."""

    produced: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class EventBuffer:
    """A bounded queue of encoded events: many threads put, one sender looks at the head and settles it.

    The head stays in the queue until its fate is known, so that an attempt that fails changes nothing.

    Args:
        max_events: bound on the events that wait.
        max_bytes: bound on their size.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sealed = False
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Begin empty, with new locks and a new account: what a fork left here belongs to the parent."""
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._account = Account()
        self._put = 0
        self._settled = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: bytes) -> int:
        """Queue one event. Gives the new length, or 0 if the event was dropped."""
        with self._changed:
            if self._sealed:
                return self._drop("closed")
            if len(self._queue) >= self._max_events or self._bytes + len(event) > self._max_bytes:
                return self._drop("queue_full")
            self._account.produced += 1
            self._put += 1
            self._queue.append(event)
            self._bytes += len(event)
            return len(self._queue)

    def refuse(self, reason: str) -> None:
        """Count an event that cannot be queued."""
        with self._changed:
            self._drop(reason)

    def head(self, *, most: int, most_bytes: int) -> list[bytes]:
        """The first events, at most so many and so large, but at least one if there is one."""
        with self._changed:
            events = list(islice(self._queue, most))
        size = 0
        for index, event in enumerate(events):
            size += len(event)
            if size > most_bytes and index > 0:
                return events[:index]
        return events

    def settle(self, count: int, rejected: Mapping[str, int]) -> None:
        """The first ``count`` events have their answer: ``rejected`` of them by reason, the rest delivered."""
        with self._changed:
            if self._closed:
                return
            for _ in range(count):
                self._bytes -= len(self._queue.popleft())
            refused = sum(rejected.values())
            self._account.delivered += count - refused
            self._account.rejected += refused
            for reason, number in rejected.items():
                self._count(reason, number)
            self._settled += count
            self._changed.notify_all()

    def seal(self) -> None:
        """Drop what comes from now on; what waits can still be sent."""
        with self._changed:
            self._sealed = True

    def close(self, reason: str) -> None:
        """Drop what still waits, for ``reason``."""
        with self._changed:
            left = len(self._queue)
            self._sealed = self._closed = True
            self._queue.clear()
            self._bytes = 0
            if left:
                self._account.dropped += left
                self._count(reason, left)
            self._settled += left
            self._changed.notify_all()

    def mark(self) -> int:
        """A mark behind the last event; `wait` waits until everything before it is settled."""
        with self._changed:
            return self._put

    def reached(self, mark: int) -> bool:
        """Whether everything before ``mark`` is settled."""
        return self._settled >= mark

    def wait(self, mark: int, deadline: float) -> bool:
        """Wait until everything before ``mark`` is settled, at most until ``deadline`` (monotonic clock)."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settled >= mark, timeout=max(deadline - time.monotonic(), 0.0))

    def account(self) -> Account:
        """The counts at this moment."""
        with self._changed:
            now = self._account
            return Account(
                now.produced,
                now.delivered,
                now.rejected,
                now.dropped,
                len(self._queue),
                Counter(now.reasons),
            )

    def _drop(self, reason: str) -> int:
        self._account.produced += 1
        self._account.dropped += 1
        self._count(reason, 1)
        return 0

    def _count(self, reason: str, number: int) -> None:
        # Rejection codes come from outside: their number is bounded too.
        reasons = self._account.reasons
        known = reason in reasons or len(reasons) < _MOST_REASONS
        reasons[reason if known else "rejected:OTHER"] += number
