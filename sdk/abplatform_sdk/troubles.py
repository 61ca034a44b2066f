"""Warnings that cannot flood the product's log."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

_INTERVAL = 60.0

logger = logging.getLogger("abplatform_sdk")


class Troubles:
    """Logs one warning per kind of trouble and minute. Called from the SDK's own threads and from `close`.

    The request path never logs: a log handler of the product may block or raise. No lock: it could be held at a fork.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def warn(self, kind: str, message: str, *args: object) -> None:
        """Log ``message`` unless the same ``kind`` was logged within the last minute. Never raises."""
        now = time.monotonic()
        if now < self._next.get(kind, now):
            return
        self._next[kind] = now + _INTERVAL
        with suppress(Exception):
            logger.warning(message, *args)
