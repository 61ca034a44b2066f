"""Layers, holdouts and segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create(
        "layer",
        sa.Column("definition", sa.Text(), nullable=False),
        comment="layers: the definition as JSON",
    )
    _create(
        "holdout",
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        comment="holdouts: the definition as JSON, and whether it has ended",
    )
    _create(
        "segment",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("member_count", sa.Integer(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        comment="segments: their members as a JSON array, values or the salted SHA-256 of unit ids, never ids",
    )


def downgrade() -> None:
    for table in ("segment", "holdout", "layer"):
        op.drop_table(table)


def _create(table: str, *columns: sa.Column[object], comment: str) -> None:
    op.create_table(
        table,
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["project"], ["project.key"], name=f"fk_{table}_project_project"),
        sa.PrimaryKeyConstraint("project", "key", name=f"pk_{table}"),
        comment=comment,
    )
    op.create_index(f"ix_{table}_project_created_at_key", table, ["project", "created_at", "key"])
