"""The event path: imports compare ids with all history, what waits is counted from the index alone, looks keep what
they were computed from, and experiments how often they are looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows that wait are compared as before."""
    comment = "compare ids with those of all times"
    op.add_column("inbox_batch", sa.Column("whole_history", sa.Boolean, nullable=True, comment=comment))
    op.drop_index("ix_inbox_batch_project_kind_seal_id", "inbox_batch")
    op.create_index("ix_inbox_batch_project_kind_seal_id_count", "inbox_batch", ["project", "kind", "seal_id", "count"])
    _create_audit_trail()
    for column in _columns_of_looks():
        op.add_column("look", column)
    comment = "how often the worker looks at the results"
    op.add_column("experiment", sa.Column("refresh_seconds", sa.Integer, nullable=True, comment=comment))


def downgrade() -> None:
    """An earlier release cannot read the rows that wait: seal them first (``abplatform seal --once``).

    Looks stay as they were found; what they were computed from is forgotten, and so are schedules.
    """
    op.drop_column("experiment", "refresh_seconds")
    for column in reversed(_columns_of_looks()):
        op.drop_column("look", column.name)
    op.drop_table("audit_entry")
    op.drop_index("ix_inbox_batch_project_kind_seal_id_count", "inbox_batch")
    op.create_index("ix_inbox_batch_project_kind_seal_id", "inbox_batch", ["project", "kind", "seal_id"])
    op.drop_column("inbox_batch", "whole_history")


def _columns_of_looks() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("exposures_state", sa.BigInteger(), nullable=True),
        sa.Column("conversions_state", sa.BigInteger(), nullable=True),
        sa.Column("as_of", sa.BigInteger(), nullable=True),
        sa.Column("engine", sa.String(64), nullable=True),
        sa.Column("version", sa.String(64), nullable=True),
        sa.Column("request", sa.Text(), nullable=True),
        sa.Column("aggregation", sa.Text(), nullable=True),
    )


def _create_audit_trail() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_audit_entry_project_project"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
        comment="who did what, when and why; written once",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entry_project_id", "audit_entry", ["project", "id"])
