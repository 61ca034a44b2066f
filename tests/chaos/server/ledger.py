"""What was sent, what of it was acknowledged, and what the results must therefore be."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from abplatform.domain.events import EventKind
from tests.chaos.server.metrics import METRICS

KINDS: tuple[EventKind, ...] = ("exposure", "conversion")
EXPERIMENT = "chaos"
VARIANTS = ("control", "treatment")


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as it was first sent.

    Attributes:
        body: what is sent, whole.
    """

    kind: str
    id: str
    unit: str
    body: dict[str, Any]


@dataclass
class Traffic:
    """What clients did beside sending each event once.

    Attributes:
        repeated: deliveries of acknowledged events again, and of events that stand in their batch twice.
        changed: deliveries of acknowledged ids with another body.
        retried: deliveries of events again since no acknowledgement had come.
        most_at_once: requests that were under way together.
    """

    repeated: int = 0
    changed: int = 0
    retried: int = 0
    most_at_once: int = 0


@dataclass
class Ledger:
    """The senders' account.

    Attributes:
        variant_of: what the platform draws for a unit.
        sent: all events by kind and id.
        acknowledged: ids of those that a 202 has named as accepted.
        statuses: number of answers by status; 0 is none.
        surprises: answers that no correct server gives.
        traffic: what else the senders did.
    """

    variant_of: Callable[[str], str]
    sent: dict[str, dict[str, Event]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    statuses: Counter[int] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)
    _under_way: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, events: Iterable[Event]) -> None:
        """These are going to be sent."""
        with self._lock:
            for event in events:
                self.sent[event.kind].setdefault(event.id, event)

    def ask(self, *, repeated: int = 0, changed: int = 0, retried: int = 0) -> None:
        """A request begins, with so many events that were sent before."""
        with self._lock:
            self._under_way += 1
            self.traffic.repeated += repeated
            self.traffic.changed += changed
            self.traffic.retried += retried
            self.traffic.most_at_once = max(self.traffic.most_at_once, self._under_way)

    def answered(self, status: int) -> None:
        """A request was answered, or not (0)."""
        with self._lock:
            self._under_way -= 1
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

    def sent_now(self, kind: str) -> Sequence[Event]:
        """A copy of what was sent, as it was first sent."""
        with self._lock:
            return list(self.sent[kind].values())

    def total(self) -> int:
        """How many events are acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def expected(self) -> tuple[dict[str, int], dict[str, dict[str, Decimal]]]:
        """Units by variant, and sums by metric and variant, if exactly the acknowledged events count, each once."""
        exposed = {self.sent["exposure"][id_].unit for id_ in self.acknowledged["exposure"]}
        sums: dict[str, dict[str, Decimal]] = {
            key: defaultdict(Decimal, dict.fromkeys(VARIANTS, Decimal(0))) for key in METRICS
        }
        met: set[tuple[str, str]] = set()
        for id_ in self.acknowledged["conversion"]:
            event = self.sent["conversion"][id_]
            if event.unit not in exposed:
                continue
            variant = self.variant_of(event.unit)
            for key, metric in METRICS.items():
                if not metric.counts(event.body):
                    continue
                if metric.kind == "sum":
                    sums[key][variant] += Decimal(event.body["value"])
                elif (key, event.unit) not in met:
                    met.add((key, event.unit))
                    sums[key][variant] += 1
        return dict(Counter(map(self.variant_of, exposed))), {key: dict(each) for key, each in sums.items()}
