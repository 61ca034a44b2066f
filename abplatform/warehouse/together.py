"""What several threads want at once is done in one go, by one of them.

Work that costs much however little it does, such as making a transaction durable, costs least per item when it does
much. While some of it is under way, what comes next gathers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from abplatform.errors import InboxFull, Unavailable

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Outcome = TypeVar("Outcome")

LARGEST_GROUP = 64
_SOON_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Outcome]):
    """A thread's place in the queue; ``called`` is let go once its item is done, or when it has to lead."""

    item: Item
    weight: int
    leads: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    is_final: bool = True
    called: threading.Lock = field(default_factory=threading.Lock)


class Together(Generic[Item, Prepared, Outcome]):
    """Does the items of many threads in groups, in the order in which they came.

    It is not for threads that get signals: an interrupt between two steps may leave the others waiting.

    There is no thread of its own, and nobody waits for company: whoever finds nobody at work works, for all who came
    meanwhile. Of a group that fails each thread tries again with its own item alone, so that none fails by another's,
    unless the fault is one of all.

    Args:
        prepare: the first part of the work on some items, by one thread at a time but for what is tried again.
        finish: the rest; it keeps all or none of them, and gives an outcome for each.
        weigh: how much an item adds to a group.
        most: how much a group of several items weighs at most; it has `LARGEST_GROUP` of them at most.
        much: if so much waits, it is prepared while others are being finished, instead of growing further.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[Item]], Prepared],
        finish: Callable[[Prepared], Sequence[Outcome]],
        *,
        weigh: Callable[[Item], int],
        most: int,
        much: int,
    ) -> None:
        self._prepare, self._finish = prepare, finish
        self._weigh, self._most, self._much = weigh, most, much
        self._waiting: deque[_Ticket[Item, Outcome]] = deque()
        self._weight = 0
        self._is_led = False
        self._finishing = 0
        self._lock = threading.Lock()

    def do(self, item: Item) -> Outcome:
        """Have an item done; it is when this returns.

        Raises:
            Exception: what the work raised for this item.
        """
        ticket: _Ticket[Item, Outcome] = _Ticket(item, self._weigh(item))
        self._wait(ticket)
        if ticket.leads:
            self._lead()
        if ticket.error is None:
            return ticket.outcomes[0]
        if ticket.is_final:
            raise copy(ticket.error) from ticket.error
        return self._finish(self._prepare([item]))[0]

    def _wait(self, ticket: _Ticket[Item, Outcome]) -> None:
        """Wait until the item is done, or its thread leads."""
        ticket.called.acquire()
        with self._lock:
            self._waiting.append(ticket)
            self._weight += ticket.weight
            self._call_next()
        try:
            ticket.called.acquire()
        except BaseException:  # an interrupt of this thread
            with self._lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    self._weight -= ticket.weight
                if ticket.leads:
                    self._is_led = False
                    self._call_next()
            raise

    def _lead(self) -> None:
        group = self._next_group()
        began = time.monotonic()
        try:
            outcomes = self._work_on([ticket.item for ticket in group])
            for ticket, outcome in zip(group, outcomes, strict=True):
                ticket.outcomes.append(outcome)
        except BaseException as error:
            for ticket in group:
                ticket.error, ticket.is_final = error, len(group) == 1 or _is_for_all(error, time.monotonic() - began)
            if not isinstance(error, Exception):
                raise  # an interrupt of this thread; the others try again
        finally:
            for ticket in group[1:]:
                ticket.called.release()

    def _work_on(self, items: Sequence[Item]) -> Sequence[Outcome]:
        with self._lock:
            self._finishing += 1
        try:
            try:
                prepared = self._prepare(items)
            finally:
                with self._lock:
                    self._is_led = False
                    self._call_next()
            return self._finish(prepared)
        finally:
            with self._lock:
                self._finishing -= 1
                self._call_next()

    def _next_group(self) -> Sequence[_Ticket[Item, Outcome]]:
        """Those who wait, from the first, who leads."""
        with self._lock:
            group = [self._waiting.popleft()]
            weight = group[0].weight
            while self._waiting and len(group) < LARGEST_GROUP and weight + self._waiting[0].weight <= self._most:
                weight += self._waiting[0].weight
                group.append(self._waiting.popleft())
            self._weight -= weight
        return group

    def _call_next(self) -> None:
        """Let the first of those who wait lead, if it is time; under the lock."""
        if self._waiting and not self._is_led and (not self._finishing or self._weight >= self._much):
            self._is_led = self._waiting[0].leads = True
            self._waiting[0].called.release()


def _is_for_all(error: BaseException, seconds: float) -> bool:
    """Whether each would fail alike; a database that does not answer takes long to say so."""
    return isinstance(error, InboxFull) or (isinstance(error, Unavailable) and seconds > _SOON_SECONDS)
