"""What a client tells the product: counts, news for listeners that may raise, warnings that cannot flood its log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Generic, Literal, NamedTuple, TypeVar

_INTERVAL = 60.0

logger = logging.getLogger("abplatform_sdk")

SnapshotSource = Literal["server", "disk", "given"]

Heard = TypeVar("Heard")


class Stats(NamedTuple):
    """Counts of one client in this process since it was made (or since the fork).

    At every moment ``produced == delivered + rejected + dropped + pending``.

    Attributes:
        produced: events that the product handed over, exposures that were already logged not counted.
        delivered: events that the server accepted.
        rejected: events that the server refused.
        dropped: events that never got an answer.
        pending: events that wait for the server.
        reasons: why events were rejected or dropped, as counts by reason.
        evaluation_errors: decisions with the reason ``ERROR``.
        snapshot_version: version of the snapshot that answers now; None before the first.
        snapshot_source: where it came from; ``given``: by `Client.from_snapshot`.
        snapshot_age: seconds since the server last confirmed the snapshot; None if it never did.
        poll_failures: looks for a snapshot that failed.
        cache_failures: times that the disk copy could not be read or written.
        listener_errors: times that a listener of the product raised.
    """

    produced: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0
    reasons: Mapping[str, int] = MappingProxyType({})
    evaluation_errors: int = 0
    snapshot_version: int | None = None
    snapshot_source: SnapshotSource | None = None
    snapshot_age: float | None = None
    poll_failures: int = 0
    cache_failures: int = 0
    listener_errors: int = 0


class FlushResult(NamedTuple):
    """What became of events during a flush, as in `Stats`; ``pending`` still wait at its end."""

    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing waits any more."""
        return self.pending == 0


class SnapshotNews(NamedTuple):
    """Something about the snapshot that answers.

    Attributes:
        kind: ``ready`` (the server has given or confirmed it, for the first time or again), ``changed`` (a newer
            version answers), ``stale`` (not confirmed for three intervals), ``error`` (not there, and the server gives
            none).
        version: of the snapshot that answers; None if there is none.
        message: what went wrong, else None.
    """

    kind: Literal["ready", "changed", "stale", "error"]
    version: int | None
    message: str | None


class Listeners(Generic[Heard]):
    """Functions of the product that hear of something, in the order in which they were added.

    Attributes:
        errors: how often one raised.
        all: the listeners.
    """

    def __init__(self) -> None:
        self.all: tuple[Callable[[Heard], object], ...] = ()
        self.renew()

    def renew(self) -> None:
        """Count anew, as after a fork."""
        self.errors = 0
        self._lock = threading.RLock()

    def add(self, listener: Callable[[Heard], object]) -> Callable[[], None]:
        """Add one; gives the function that takes it away again."""
        self.all = (*self.all, listener)
        return lambda: self._remove(listener)

    def tell(self, news: Heard) -> None:
        """Call all of them; what they raise is counted."""
        for listener in self.all:
            try:
                listener(news)
            except Exception:  # noqa: BLE001 (a listener of the product may do anything)
                with self._lock:
                    self.errors += 1

    def _remove(self, listener: Callable[[Heard], object]) -> None:
        self.all = tuple(other for other in self.all if other is not listener)


class Troubles:
    """Logs one warning per kind of trouble and minute. Called from the SDK's own threads and from `close`.

    The request path never logs: a log handler of the product may block or raise. No lock: it could be held at a fork.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def warn(self, kind: str, message: str, *args: object) -> bool:
        """Log ``message`` unless the same ``kind`` was logged within the last minute; whether it was. Never raises."""
        now = time.monotonic()
        if now < self._next.get(kind, now):
            return False
        self._next[kind] = now + _INTERVAL
        with suppress(Exception):
            logger.warning(message, *args)
        return True
