"""The inbox: accepted events wait here, durably, until they are sealed into the lake.

One compressed row per request, or for several that came at once: a row per event with a unique index costs 10 to 40
times more, and finding duplicates belongs to sealing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from abplatform.database import UtcTime, reading, transaction
from abplatform.domain.events import EventKind
from abplatform.errors import InboxFull
from abplatform.warehouse.payload import pack
from abplatform.warehouse.rejections import Rejection, build_rows, keep_newest
from abplatform.warehouse.tables import NOBODY, event_counter, inbox_batch, rejected_event
from abplatform.warehouse.together import Together

Database = sa.Engine

_RECOUNT_SECONDS = 2.0
_MOST_BYTES = 16_000_000
_OF_BATCH = ("project", "kind", "received_at", "count", "payload", "whole_history", "claim")

_INSERTS: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Arrival:
    """Events of one kind that came together.

    Attributes:
        project: its key.
        kind: what the events are.
        facts: the events, with the columns of `layout.arrow_schema`.
        received_at: when the first of them came, by the platform's clock.
    """

    project: str
    kind: EventKind
    facts: pa.Table
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept whole or not at all: rows, and numbers to add to counters."""

    batches: Sequence[Mapping[str, Any]]
    rejections: Sequence[Mapping[str, object]] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the events."""
        return sum(len(batch["payload"]) for batch in self.batches)


class Inbox:
    """Where events are accepted.

    Args:
        database: the metadata database.
        most_waiting: events that may wait in it; None for any number.
    """

    def __init__(self, database: sa.Engine, *, most_waiting: int | None = None) -> None:
        self._database = database
        self._commits: Together[_Entry, Sequence[None], None] = Together(
            self._store, lambda stored: stored, weigh=lambda entry: entry.size, most=_MOST_BYTES, much=0
        )
        self._insert = inbox_batch.insert().inline().compile(dialect=database.dialect, column_keys=_OF_BATCH)
        self._room = None if most_waiting is None else _Room(database, most_waiting)

    def add(
        self,
        project: str,
        kind: EventKind,
        facts: pa.Table | None,
        rejections: Sequence[Rejection] = (),
        *,
        received_at: datetime,
        whole_history: bool = False,
    ) -> None:
        """Keep one request's events and why others of it were refused, in one durable transaction.

        When this returns, the events survive a crash or a power cut. What several threads add at once goes into one
        transaction; if that fails, each one's goes into its own. Of many refusals of a request some are kept (see
        `rejections.build_rows`); all are counted.

        Args:
            project: key of the project.
            kind: what the events are.
            facts: the events, with the columns of `layout.arrow_schema`; None if there are none.
            rejections: the others.
            received_at: the platform's clock.
            whole_history: whether sealing compares the ids with those of all times, and not only of 30 days.

        Raises:
            InboxFull: if too many events wait already; nothing was kept then.
            Unavailable: if the database does not answer; nothing was kept then.
        """
        if facts is None and not rejections:
            return
        arrivals = [] if facts is None else [Arrival(project, kind, facts, received_at)]
        shared: dict[str, object] = {"project": project, "kind": kind, "received_at": received_at}
        rows = build_rows(rejections, shared)
        counts: dict[tuple[str, str], int] = {(project, kind): len(rejections)} if rejections else {}
        self._commits.do(_Entry(self._batches(arrivals, whole_history=whole_history), rows, counts))

    def add_all(self, arrivals: Sequence[Arrival]) -> None:
        """Keep events of several kinds or projects in one durable transaction, all or none; as `add`.

        Raises:
            InboxFull, Unavailable: as `add`.
        """
        if arrivals:
            self._commits.do(_Entry(self._batches(arrivals)))

    def check_room(self) -> None:
        """Ask whether events would be taken, for whoever has work to do before `add`; for a while the answer is kept.

        Raises:
            InboxFull: if too many wait already.
            Unavailable: if the database does not answer.
        """
        if self._room is not None:
            self._room.check()

    def look_again(self) -> None:
        """Count anew before anything is refused: for whoever has made room by sealing."""
        if self._room is not None:
            self._room.forget()

    def _batches(self, arrivals: Sequence[Arrival], *, whole_history: bool = False) -> Sequence[Mapping[str, Any]]:
        if arrivals:
            self.check_room()
        return [
            {
                "project": each.project,
                "kind": each.kind,
                "received_at": UtcTime().process_bind_param(each.received_at, self._database.dialect),
                "count": each.facts.num_rows,
                "payload": pack(each.facts),
                "whole_history": whole_history,
                "claim": NOBODY,
            }
            for each in arrivals
        ]

    def _store(self, entries: Sequence[_Entry]) -> Sequence[None]:
        batches = [batch for entry in entries for batch in entry.batches]
        rejections = [row for entry in entries for row in entry.rejections]
        rejected: Counter[tuple[str, str]] = Counter()
        for entry in entries:
            rejected.update(entry.counts)
        with transaction(self._database) as connection:
            if batches:
                # Compiled once: most transactions hold nothing else.
                order = self._insert.positiontup
                rows = batches if order is None else [tuple(row[name] for name in order) for row in batches]
                connection.exec_driver_sql(str(self._insert), rows)
            if rejections:
                connection.execute(rejected_event.insert(), rejections)
            # In one order everywhere: two transactions never wait for each other.
            for (project, kind), events in sorted(rejected.items()):
                count(connection, project, kind, {"rejected": events})
        return [None] * len(entries)

    def pending(self, project: str, kind: EventKind | None = None, *, up_to: int | None = None) -> int:
        """Number of events that wait to be sealed.

        Args:
            project: key of the project.
            kind: only these.
            up_to: only batches up to this id (see `last_batch`).
        """
        query = sa.select(sa.func.coalesce(sa.func.sum(inbox_batch.c.count), 0)).where(
            inbox_batch.c.project == project, *_narrow(kind, up_to)
        )
        with reading(self._database) as connection:
            return int(connection.execute(query).scalar_one())

    def oldest(self, project: str) -> datetime | None:
        """When the batch that has waited longest was received; None if none waits."""
        first = sa.select(sa.func.min(inbox_batch.c.id)).where(inbox_batch.c.project == project).scalar_subquery()
        with reading(self._database) as connection:
            received: datetime | None = connection.scalar(
                sa.select(inbox_batch.c.received_at).where(inbox_batch.c.id == first)
            )
        return received

    def last_batch(self, project: str, kind: EventKind) -> int | None:
        """Id of the newest batch that waits; None if none does."""
        query = sa.select(sa.func.max(inbox_batch.c.id)).where(
            inbox_batch.c.project == project, inbox_batch.c.kind == kind
        )
        with reading(self._database) as connection:
            last: int | None = connection.execute(query).scalar_one()
        return last

    def waiting_projects(self) -> tuple[str, ...]:
        """Projects with events that wait to be sealed, in order."""
        query = sa.select(inbox_batch.c.project).distinct().order_by(inbox_batch.c.project)
        with reading(self._database) as connection:
            return tuple(connection.execute(query).scalars())

    def counters(self, project: str, kind: EventKind) -> Mapping[str, int]:
        """How many events were ``rejected``, or dropped at sealing as ``duplicates`` or ``conflicts``."""
        query = sa.select(event_counter.c.name, event_counter.c.value).where(
            event_counter.c.project == project, event_counter.c.kind == kind
        )
        with reading(self._database) as connection:
            found = {name: int(value) for name, value in connection.execute(query)}
        return {name: found.get(name, 0) for name in ("rejected", "duplicates", "conflicts")}

    def trim_rejections(self) -> None:
        """See `rejections.keep_newest`."""
        keep_newest(self._database)


class _Room:
    """Whether there is room for more events; counted again every two seconds, by one thread of those that ask."""

    def __init__(self, database: sa.Engine, most: int) -> None:
        self._database = database
        self._most = most
        self._count_at = 0.0
        self._is_full = False

    def forget(self) -> None:
        self._count_at = 0.0

    def check(self) -> None:
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + _RECOUNT_SECONDS
            with reading(self._database) as connection:
                waiting = connection.execute(sa.select(sa.func.sum(inbox_batch.c.count))).scalar_one() or 0
            self._is_full = int(waiting) >= self._most
        if self._is_full:
            raise InboxFull("too many events wait to be sealed; send them again later")


def count(connection: sa.Connection, project: str, kind: str, amounts: Mapping[str, int]) -> None:
    """Add to the event counters, inside the caller's transaction; zeros are skipped."""
    rows = [
        {"project": project, "kind": kind, "name": name, "value": amount} for name, amount in amounts.items() if amount
    ]
    if not rows:
        return
    insert = _INSERTS[connection.dialect.name](event_counter).values(rows)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["project", "kind", "name"],
            set_={"value": event_counter.c.value + insert.excluded.value},
        )
    )


def _narrow(kind: EventKind | None, up_to: int | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if kind is not None:
        conditions.append(inbox_batch.c.kind == kind)
    if up_to is not None:
        conditions.append(inbox_batch.c.id <= up_to)
    return conditions
