"""What a client tells the product: news for listeners that may raise, warnings that cannot flood its log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Literal, NamedTuple, TypeVar

_INTERVAL = 60.0

logger = logging.getLogger("abplatform_sdk")

Heard = TypeVar("Heard")


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
