"""Which exposures were logged in this hour."""

from __future__ import annotations

import threading
from collections.abc import Hashable

_MOST = 50_000


class ExposedThisHour:
    """A bounded memory of keys, emptied when the hour changes.

    Two generations of at most 50,000 keys: the older one goes when the younger is full. A key that was
    forgotten is logged once more, which the platform counts as the same unit.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin empty, with a new lock."""
        self._lock = threading.RLock()
        self._hour = -1
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def claim(self, key: Hashable, now: float) -> bool:
        """True for the first to ask about ``key`` in the hour of ``now`` (Unix seconds)."""
        hour = int(now // 3600)
        with self._lock:
            if hour != self._hour:
                self._hour, self._young, self._old = hour, set(), set()
            if key in self._young or key in self._old:
                return False
            if len(self._young) >= _MOST:
                self._old, self._young = self._young, set()
            self._young.add(key)
            return True

    def give_up(self, key: Hashable) -> None:
        """Take a claim back: the exposure was not logged after all."""
        with self._lock:
            self._young.discard(key)
            self._old.discard(key)
