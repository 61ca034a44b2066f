"""The tables of definitions, keys, snapshots and looks (migrations read ``metadata``).

Definitions are JSON text; a column of their own have only the things that are looked up, compared or locked.
"""

from __future__ import annotations

from typing import Any

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

_KEY = sa.String(64)


def _project_column() -> sa.Column[str]:
    return sa.Column("project", _KEY, sa.ForeignKey("project.key"), primary_key=True)


def _definitions(name: str, *columns: sa.Column[Any], comment: str) -> sa.Table:
    """A table of what has a key in its project; `abplatform.storage.definitions` works on what all of them share."""
    return sa.Table(
        name,
        metadata,
        _project_column(),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        *columns,
        sa.Index(None, "project", "created_at", "key"),
        comment=comment,
    )


def _versions(of: str, *columns: sa.Column[Any], comment: str) -> sa.Table:
    """A table of the earlier versions of what is in another one; `abplatform.storage.versions` works on both."""
    return sa.Table(
        f"{of}_version",
        metadata,
        sa.Column("project", _KEY, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        *columns,
        sa.Column("definition", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["project", "key"], [f"{of}.project", f"{of}.key"]),
        comment=comment,
    )


project = sa.Table(
    "project",
    metadata,
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("unit_type", _KEY, nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", UtcTime, nullable=False),
    comment="one environment of one product",
)

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(200), nullable=False),
    comment="facts about the whole installation, written once",
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("project", _KEY, sa.ForeignKey("project.key"), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("secret_hash", sa.String(64), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime, nullable=True),
    sa.Index(None, "project", "created_at", "id"),
    comment="who may call; of a secret only its SHA-256",
)

experiment = _definitions(
    "experiment",
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("phase_salt", sa.String(64), nullable=False, server_default="-"),
    sa.Column("layer_salt", sa.String(64), nullable=False),
    sa.Column("preregistered", sa.Boolean, nullable=False),
    sa.Column("shipped", _KEY, nullable=True),
    sa.Column("refresh_seconds", sa.Integer, nullable=True, comment="how often the worker looks at the results"),
    sa.Column("started_at", UtcTime, nullable=True),
    sa.Column("phase_started_at", UtcTime, nullable=True),
    sa.Column("closed_at", UtcTime, nullable=True),
    sa.Column("stopped_at", UtcTime, nullable=True),
    sa.Column("archived_at", UtcTime, nullable=True),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("records", sa.Text, nullable=False, server_default="{}"),
    comment="experiments: the definition as JSON, and the state",
)

metric = _definitions(
    "metric",
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("version_created_at", UtcTime, nullable=True, comment="of later versions than the first"),
    sa.Column("definition", sa.Text, nullable=False),
    comment="metrics: the definition as JSON",
)

metric_version = _versions(
    "metric",
    sa.Column("version_created_at", UtcTime, nullable=True),
    comment="metrics: versions that a later one has replaced, never changed",
)

layer = _definitions(
    "layer",
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    comment="layers: the definition as JSON",
)

holdout = _definitions(
    "holdout",
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("ended_at", UtcTime, nullable=True),
    sa.Column("definition", sa.Text, nullable=False),
    comment="holdouts: the definition as JSON, and whether it has ended",
)

segment = _definitions(
    "segment",
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("member_count", sa.Integer, nullable=False),
    sa.Column("members", sa.Text, nullable=False),
    comment="segments: their members as a JSON array, values or the salted SHA-256 of unit ids, never ids",
)

behaviour = _definitions(
    "behaviour",
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("as_of", UtcTime, nullable=False, comment="when the version was made"),
    sa.Column("definition", sa.Text, nullable=False),
    comment="behaviours: the definition as JSON, with the edges that quantiles came to",
)

behaviour_version = _versions(
    "behaviour",
    sa.Column("as_of", UtcTime, nullable=False),
    comment="behaviours: versions that a later one has replaced, never changed",
)

snapshot = sa.Table(
    "snapshot",
    metadata,
    _project_column(),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("etag", sa.String(64), nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    comment="what evaluators read now: one row per project, exactly the bytes that are served",
)

look = sa.Table(
    "look",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("experiment", _KEY, primary_key=True),
    sa.Column("phase", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("computed_at", UtcTime, nullable=False),
    sa.Column("fingerprint", sa.String(200), nullable=False),
    sa.Column("scorecard", sa.Text, nullable=False),
    # What it was computed from; null in looks from before that was kept, and the states where a table had no rows.
    sa.Column("exposures_state", sa.BigInteger, nullable=True),
    sa.Column("conversions_state", sa.BigInteger, nullable=True),
    sa.Column("as_of", UtcTime, nullable=True),
    sa.Column("engine", sa.String(64), nullable=True),
    sa.Column("version", sa.String(64), nullable=True),
    sa.Column("request", sa.Text, nullable=True),
    sa.Column("aggregation", sa.Text, nullable=True),
    sa.ForeignKeyConstraint(["project", "experiment"], ["experiment.project", "experiment.key"]),
    comment="scorecards, written once",
)

kept_units = sa.Table(
    "kept_units",
    metadata,
    sa.Column("project", _KEY, primary_key=True),
    sa.Column("experiment", _KEY, primary_key=True),
    sa.Column("phase", sa.Integer, primary_key=True),
    sa.Column("question", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("units", sa.Text, nullable=True),
    sa.ForeignKeyConstraint(["project", "experiment"], ["experiment.project", "experiment.key"]),
    comment="what looks knew of each unit, in files beside the lake",
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    _project_column(),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("request", sa.String(300), primary_key=True, comment="method and path"),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "created_at"),
    comment="answers that a repeated Idempotency-Key gets again",
)

audit_entry = sa.Table(
    "audit_entry",
    metadata,
    # SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("project", _KEY, sa.ForeignKey("project.key"), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Index(None, "project", "id"),
    comment="who did what, when and why; written once",
    sqlite_autoincrement=True,
)
