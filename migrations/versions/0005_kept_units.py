"""What looks knew of each unit, kept in files for the next look to go on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is kept yet: the worker begins to."""
    op.create_table(
        "kept_units",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("experiment", sa.String(64), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project", "experiment", "phase", name="pk_kept_units"),
        sa.ForeignKeyConstraint(
            ["project", "experiment"],
            ["experiment.project", "experiment.key"],
            name="fk_kept_units_project_experiment",
        ),
        comment="what looks knew of each unit, in files beside the lake",
    )


def downgrade() -> None:
    """Looks read all events again; the folders ``units`` beside the tables of the lake may be deleted."""
    op.drop_table("kept_units")
