"""Which exposures were logged in this hour."""

from __future__ import annotations

import threading

_MOST = 100_000
_HOUR = 3600


class Claims:
    """Who was exposed to one thing: claim by unit.

    Whoever does ``seen.setdefault(unit, claim) is claim``, with an object of its own, is the first: it is atomic, so
    that no lock is needed.
    """

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: dict[str, object] = {}


class ExposedThisHour:
    """A bounded memory of who was exposed to what, emptied when the hour changes.

    It is emptied, too, after 100,000 exposures. One that was forgotten is logged once more, which the platform counts
    as the same unit.

    Attributes:
        since, until: the hour that is remembered, in Unix seconds.
    """

    def __init__(self) -> None:
        self.since = self.until = 0.0
        self._claims: dict[tuple[str, int], Claims] = {}
        self.renew()

    def renew(self) -> None:
        """Begin empty, with a new lock."""
        self._lock = threading.RLock()
        self._forget()

    def claims(self, what: str, phase: int) -> Claims:
        """Who was exposed to a phase of something; one object for ever, to be asked after `turn`."""
        found = self._claims.get((what, phase))
        return found if found is not None else self._claims.setdefault((what, phase), Claims())

    def turn(self, now: float) -> None:
        """Begin the hour of ``now``, unless it has begun."""
        with self._lock:
            if not self.since <= now < self.until:
                self._forget()
                self.since = now // _HOUR * _HOUR
                self.until = self.since + _HOUR

    def note(self) -> None:
        """Count an exposure that was queued."""
        with self._lock:
            self._count += 1
            if self._count >= _MOST:
                self._forget()

    def _forget(self) -> None:
        self._count = 0
        for claims in list(self._claims.values()):
            claims.seen = {}
