"""The tables of the metadata database that belong to the event path (migrations read ``metadata``)."""

from __future__ import annotations

import sqlalchemy as sa

from abplatform.database import UtcTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

NOBODY = "-" * 36
"""In the place of a claim while there is none.

As long as one: SQLite then writes a few bytes of a row that is claimed, and not its events once more. And before all
of them in order.
"""

# AUTOINCREMENT: an id that was used is never used again, so ids are the order of acceptance for ever.
inbox_batch = sa.Table(
    "inbox_batch",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("whole_history", sa.Boolean, nullable=True, comment="compare ids with those of all times"),
    sa.Column("claim", sa.String(36), nullable=False, server_default=NOBODY, comment="seal_id of who seals it"),
    # With the count: what waits is counted without reading what it is.
    sa.Index(None, "project", "kind", "claim", "count"),
    comment="accepted events that are not yet in the lake: one compressed row per request",
    sqlite_autoincrement=True,
)

is_free = inbox_batch.c.claim == NOBODY
is_claimed = inbox_batch.c.claim > NOBODY

rejected_event = sa.Table(
    "rejected_event",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("event_id", sa.String(64), nullable=True),
    sa.Index(None, "project", "kind", "received_at"),
    comment="why events were refused; never what they said about whom",
)

event_counter = sa.Table(
    "event_counter",
    metadata,
    sa.Column("project", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    comment="how many events were rejected, or dropped at sealing as duplicates or conflicts",
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    comment="who may do a job that only one may do at a time",
)
