"""What was sent, what of it was acknowledged, and what the results must therefore be."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from abplatform.domain.events import EventKind

KINDS: tuple[EventKind, ...] = ("exposure", "conversion")
EXPERIMENT = "chaos"
METRIC = "amount"
EVENT = "purchase"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as it was first sent.

    Attributes:
        body: what is sent.
        value: of a conversion; zero for an exposure.
    """

    kind: str
    id: str
    unit: str
    body: dict[str, Any]
    value: Decimal = Decimal(0)


@dataclass
class Ledger:
    """The senders' account.

    Attributes:
        variant_of: what the platform draws for a unit.
        sent: all events by kind and id.
        acknowledged: ids of those that a 202 has named as accepted.
        statuses: number of answers by status; 0 is none.
        surprises: answers that no correct server gives.
    """

    variant_of: Callable[[str], str]
    sent: dict[str, dict[str, Event]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    statuses: Counter[int] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, events: Iterable[Event]) -> None:
        """These are going to be sent."""
        with self._lock:
            for event in events:
                self.sent[event.kind].setdefault(event.id, event)

    def answered(self, status: int) -> None:
        """A request was answered, or not (0)."""
        with self._lock:
            self.statuses[status] += 1

    def keep(self, events: Iterable[Event]) -> None:
        """A 202 came for these."""
        with self._lock:
            for event in events:
                self.acknowledged[event.kind].add(event.id)

    def wonder(self, text: str) -> None:
        """Note a surprise."""
        with self._lock:
            self.surprises.append(text)

    def acknowledged_now(self) -> dict[str, set[str]]:
        """A copy of what is acknowledged."""
        with self._lock:
            return {kind: set(ids) for kind, ids in self.acknowledged.items()}

    def total(self) -> int:
        """How many events are acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def expected(self) -> tuple[dict[str, int], dict[str, Decimal]]:
        """Units and sums by variant if exactly the acknowledged events are counted, each once."""
        exposed = {self.sent["exposure"][id_].unit for id_ in self.acknowledged["exposure"]}
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for id_ in self.acknowledged["conversion"]:
            event = self.sent["conversion"][id_]
            if event.unit in exposed:
                sums[self.variant_of(event.unit)] += event.value
        return dict(Counter(map(self.variant_of, exposed))), dict(sums)
