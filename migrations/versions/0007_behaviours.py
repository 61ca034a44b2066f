"""Behaviours: segments from what units did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of behaviours and of their earlier versions."""
    op.create_table(
        "behaviour",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False, comment="when the version was made"),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", name="pk_behaviour"),
        sa.ForeignKeyConstraint(["project"], ["project.key"], name="fk_behaviour_project_project"),
        comment="behaviours: the definition as JSON, with the edges that quantiles came to",
    )
    op.create_index("ix_behaviour_project_created_at_key", "behaviour", ["project", "created_at", "key"])
    op.create_table(
        "behaviour_version",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", "version", name="pk_behaviour_version"),
        sa.ForeignKeyConstraint(
            ["project", "key"], ["behaviour.project", "behaviour.key"], name="fk_behaviour_version_project_behaviour"
        ),
        comment="behaviours: versions that a later one has replaced, never changed",
    )


def downgrade() -> None:
    """Behaviours are gone; where experiments name one as a dimension, that is an attribute of exposures again."""
    op.drop_table("behaviour_version")
    op.drop_index("ix_behaviour_project_created_at_key", table_name="behaviour")
    op.drop_table("behaviour")
