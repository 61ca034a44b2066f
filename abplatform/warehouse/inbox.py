"""The inbox: accepted events wait here, durably, until they are sealed into the lake.

One compressed row per request: a row per event with a unique index costs 10 to 40 times more, and finding
duplicates belongs to sealing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
import zstandard
from sqlalchemy.dialects import postgresql, sqlite

from abplatform.database import reading, transaction
from abplatform.domain.checks import storable
from abplatform.domain.events import LONGEST_EVENT_ID, ConversionFact, EventKind, ExposureFact
from abplatform.warehouse.tables import event_counter, inbox_batch, rejected_event

Database = sa.Engine
Fact = ExposureFact | ConversionFact

MOST_REJECTIONS_KEPT = 100
MOST_REJECTED_ROWS = 10_000
LONGEST_CODE = 64
LONGEST_DETAIL = 500

_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "exposure": msgspec.msgpack.Decoder(list[ExposureFact]),
    "conversion": msgspec.msgpack.Decoder(list[ConversionFact]),
}
_INSERTS: dict[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Rejection:
    """What the inbox keeps of a refused event.

    Attributes:
        index: position in its request.
        code: stable reason in UPPER_SNAKE.
        detail: a sentence that never repeats a unit id.
        event_id: where it had a usable one.
    """

    index: int
    code: str
    detail: str
    event_id: str | None = None


class Inbox:
    """Where events are accepted.

    Args:
        database: the metadata database.
    """

    def __init__(self, database: sa.Engine) -> None:
        self._database = database

    def add(
        self,
        project: str,
        kind: EventKind,
        facts: Sequence[Fact],
        rejections: Sequence[Rejection] = (),
        *,
        received_at: datetime,
    ) -> None:
        """Keep one request's events and why others of it were refused, in one durable transaction.

        When this returns, the events survive a crash or a power cut. At most `MOST_REJECTIONS_KEPT` refusals of a
        request are kept; all are counted.

        Raises:
            Unavailable: if the database does not answer; nothing was kept then.
        """
        if not facts and not rejections:
            return
        batch = {"project": project, "kind": kind, "received_at": received_at}
        payload = pack(facts) if facts else b""
        with transaction(self._database) as connection:
            if facts:
                connection.execute(inbox_batch.insert(), {**batch, "count": len(facts), "payload": payload})
            if rejections:
                rows = [{**batch, **_describe(each)} for each in rejections[:MOST_REJECTIONS_KEPT]]
                connection.execute(rejected_event.insert(), rows)
                count(connection, project, kind, {"rejected": len(rejections)})

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
        """Keep the newest `MOST_REJECTED_ROWS` refusals of all; a broken client must not fill the disk."""
        oldest_kept = (
            sa.select(rejected_event.c.id).order_by(rejected_event.c.id.desc()).offset(MOST_REJECTED_ROWS - 1).limit(1)
        )
        with reading(self._database) as connection:
            first = connection.execute(oldest_kept).scalar_one_or_none()
        if first is not None:
            with transaction(self._database) as connection:
                connection.execute(rejected_event.delete().where(rejected_event.c.id < first))


def pack(facts: Sequence[Fact]) -> bytes:
    """One request's events as compressed msgpack."""
    return zstandard.compress(msgspec.msgpack.encode(facts), level=1)


def unpack(kind: EventKind, payload: bytes) -> list[Fact]:
    """The events that `pack` packed."""
    facts: list[Fact] = _DECODERS[kind].decode(zstandard.decompress(payload))
    return facts


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


def _describe(rejection: Rejection) -> dict[str, object]:
    event_id = rejection.event_id
    fits = event_id is not None and 0 < len(event_id) <= LONGEST_EVENT_ID and storable(event_id)
    return {
        "position": rejection.index,
        "code": rejection.code[:LONGEST_CODE],
        "detail": _storable_text(rejection.detail)[:LONGEST_DETAIL],
        "event_id": event_id if fits else None,
    }


def _storable_text(text: str) -> str:
    return "".join(character if storable(character) else "\ufffd" for character in text)
