"""Warnings that cannot flood the product's log."""

from __future__ import annotations

import logging
import threading
import time

_INTERVAL = 60.0

logger = logging.getLogger("abplatform_sdk")


class Troubles:
    """Logs one warning per kind of trouble and minute. Called from the SDK's own threads and from `close`.

    The request path never logs: a log handler of the product may block or raise.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._lock = threading.RLock()

    def renew(self) -> None:
        """Take a new lock: in a forked child the old one may be held by a thread that is not there."""
        self._lock = threading.RLock()

    def warn(self, kind: str, message: str, *args: object) -> None:
        """Log ``message`` unless the same ``kind`` was logged within the last minute."""
        now = time.monotonic()
        with self._lock:
            if now < self._next.get(kind, now):
                return
            self._next[kind] = now + _INTERVAL
        logger.warning(message, *args)
