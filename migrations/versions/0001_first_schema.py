"""The first schema: definitions and access, snapshots and looks, and the event path."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Children before their parents.
TABLES = (
    "lease",
    "event_counter",
    "rejected_event",
    "inbox_batch",
    "idempotency",
    "look",
    "snapshot",
    "metric",
    "experiment",
    "api_key",
    "project",
    "installation",
)


def upgrade() -> None:
    _create_access()
    _create_definitions()
    _create_published()
    _create_idempotency()
    _create_inbox()
    _create_event_books()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def _create_access() -> None:
    op.create_table(
        "installation",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation"),
        comment="facts about the whole installation, written once",
    )
    op.create_table(
        "project",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("unit_type", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_project"),
        comment="one environment of one product",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_api_key_project_project"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        comment="who may call; of a secret only its SHA-256",
    )
    op.create_index("ix_api_key_project_created_at_id", "api_key", ["project", "created_at", "id"])


def _create_definitions() -> None:
    op.create_table(
        "experiment",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("layer_salt", sa.String(64), nullable=False),
        sa.Column("preregistered", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_experiment_project_project"),
        sa.PrimaryKeyConstraint("project", "key", name="pk_experiment"),
        comment="experiments: the definition as JSON, and the state",
    )
    op.create_index("ix_experiment_project_created_at_key", "experiment", ["project", "created_at", "key"])
    op.create_table(
        "metric",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_metric_project_project"),
        sa.PrimaryKeyConstraint("project", "key", name="pk_metric"),
        comment="metrics: the definition as JSON",
    )
    op.create_index("ix_metric_project_created_at_key", "metric", ["project", "created_at", "key"])


def _create_published() -> None:
    op.create_table(
        "snapshot",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_snapshot_project_project"),
        sa.PrimaryKeyConstraint("project", name="pk_snapshot"),
        comment="what evaluators read now: one row per project, exactly the bytes that are served",
    )
    op.create_table(
        "look",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("experiment", sa.String(64), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("computed_at", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(200), nullable=False),
        sa.Column("scorecard", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "experiment"],
            ["experiment.project", "experiment.key"],
            name="fk_look_project_experiment_experiment",
        ),
        sa.PrimaryKeyConstraint("project", "experiment", "phase", "number", name="pk_look"),
        comment="scorecards, written once",
    )


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request", sa.String(300), nullable=False, comment="method and path"),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_idempotency_project_project"),
        sa.PrimaryKeyConstraint("project", "key", "request", name="pk_idempotency"),
        comment="answers that a repeated Idempotency-Key gets again",
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])


def _create_inbox() -> None:
    op.create_table(
        "inbox_batch",
        sa.Column("id", _row_number(), autoincrement=True, nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("seal_id", sa.String(36), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_inbox_batch"),
        comment="accepted events that are not yet in the lake: one compressed row per request",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_batch_project_kind_seal_id", "inbox_batch", ["project", "kind", "seal_id"])


def _create_event_books() -> None:
    op.create_table(
        "rejected_event",
        sa.Column("id", _row_number(), autoincrement=True, nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rejected_event"),
        comment="why events were refused; never what they said about whom",
    )
    op.create_index("ix_rejected_event_project_kind_received_at", "rejected_event", ["project", "kind", "received_at"])
    op.create_table(
        "event_counter",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "kind", "name", name="pk_event_counter"),
        comment="how many events were rejected, or dropped at sealing as duplicates or conflicts",
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
        comment="who may do a job that only one may do at a time",
    )


def _row_number() -> sa.types.TypeEngine[int]:
    # SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
