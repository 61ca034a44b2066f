"""Group commit: what several threads want to store goes into one transaction.

Making a transaction durable costs a write through to the disk, whatever its size. While one is on its way, the next
group gathers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

LARGEST_GROUP = 256


@dataclass(slots=True)
class _Ticket(Generic[Entry]):
    entry: Entry
    done: bool = False
    error: BaseException | None = None


class GroupCommit(Generic[Entry]):
    """Stores the entries of many threads, in the order in which they came.

    There is no thread of its own: whoever finds nobody at work commits for all who wait.

    Args:
        commit: stores entries durably, all or none of them.
    """

    def __init__(self, commit: Callable[[Sequence[Entry]], None]) -> None:
        self._commit = commit
        self._waiting: deque[_Ticket[Entry]] = deque()
        self._at_work = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Store an entry; it is on disk when this returns.

        Raises:
            Exception: what ``commit`` raised for the group that the entry was in; none of it is stored then.
        """
        ticket = _Ticket(entry)
        self._waiting.append(ticket)
        while not ticket.done:
            with self._at_work:
                if not ticket.done:
                    self._commit_group()
        if ticket.error is not None:
            raise copy(ticket.error) from ticket.error

    def _commit_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
        try:
            self._commit([ticket.entry for ticket in group])
        except BaseException as error:
            for ticket in group:
                ticket.error = error
            if not isinstance(error, Exception):
                raise  # an interrupt of this thread; the others get it as their own fault
        finally:
            for ticket in group:
                ticket.done = True
