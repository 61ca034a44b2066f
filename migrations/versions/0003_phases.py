"""Phases, closing, shipping, forced units: the state of experiments grows.

Columns that must not be null have defaults, which no row keeps: SQLite adds them only so, and copying the table would
break the looks that refer to it.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

experiment = sa.table(
    "experiment",
    sa.column("project", sa.String),
    sa.column("key", sa.String),
    sa.column("status", sa.String),
    sa.column("salt", sa.String),
    sa.column("definition", sa.Text),
    sa.column("started_at", sa.BigInteger),
    sa.column("phase_salt", sa.String),
    sa.column("phase_started_at", sa.BigInteger),
    sa.column("records", sa.Text),
)


def upgrade() -> None:
    """Experiments that are served keep exactly the salt and the slots that they were published with."""
    for column in _new_columns():
        op.add_column("experiment", column)
    connection = op.get_bind()
    connection.execute(
        sa.update(experiment).values(phase_salt=experiment.c.salt, phase_started_at=experiment.c.started_at)
    )
    started = sa.select(experiment).where(experiment.c.status != "draft")
    for row in connection.execute(started).all():
        definition = json.loads(row.definition)
        if definition.get("assignment", "served") == "served":
            records = json.dumps({"slots": [[0, _slots(definition.get("coverage", 1))]]}, separators=(",", ":"))
            is_this = sa.and_(experiment.c.project == row.project, experiment.c.key == row.key)
            connection.execute(sa.update(experiment).where(is_this).values(records=records))


def downgrade() -> None:
    """What is served stays as it was where the older program knows how.

    It publishes ``salt`` and has no closed experiments: those run on. Shared layers, holdouts, prerequisites, past
    phases and what was shipped have no place there.
    """
    connection = op.get_bind()
    connection.execute(sa.update(experiment).values(salt=experiment.c.phase_salt))
    connection.execute(sa.update(experiment).where(experiment.c.status == "closed").values(status="running"))
    for column in reversed(_new_columns()):
        op.drop_column("experiment", column.name)


def _new_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("phase_salt", sa.String(64), nullable=False, server_default="-"),
        sa.Column("shipped", sa.String(64), nullable=True),
        sa.Column("phase_started_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("records", sa.Text(), nullable=False, server_default="{}"),
    )


def _slots(coverage: float) -> int:
    """The exact share of a million, to the nearest integer, a half upwards: as it was published before."""
    return int(Fraction(coverage) * 1_000_000 + Fraction(1, 2))
