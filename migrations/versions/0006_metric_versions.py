"""Versions of metrics, and the time zone of a project."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_METRIC = sa.table(
    "metric",
    sa.column("project", sa.String),
    sa.column("key", sa.String),
    sa.column("version", sa.Integer),
    sa.column("definition", sa.Text),
)
_PAST = sa.table(
    "metric_version",
    sa.column("project", sa.String),
    sa.column("key", sa.String),
    sa.column("version", sa.Integer),
    sa.column("definition", sa.Text),
)
_EXPERIMENT = sa.table(
    "experiment",
    sa.column("project", sa.String),
    sa.column("key", sa.String),
    sa.column("status", sa.String),
    sa.column("definition", sa.Text),
)


def upgrade() -> None:
    """Every metric there is becomes version 1 of itself: also what experiments use that have started."""
    op.add_column("project", sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"))
    op.add_column("project", sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("metric", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    comment = "of later versions than the first"
    op.add_column("metric", sa.Column("version_created_at", sa.BigInteger(), nullable=True, comment=comment))
    op.create_table(
        "metric_version",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version_created_at", sa.BigInteger(), nullable=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", "version", name="pk_metric_version"),
        sa.ForeignKeyConstraint(
            ["project", "key"], ["metric.project", "metric.key"], name="fk_metric_version_project_metric"
        ),
        comment="metrics: versions that a later one has replaced, never changed",
    )


def downgrade() -> None:
    """Of each metric one version stays: what started experiments are judged by, of several the newest.

    Where experiments that have started use several versions of a metric, the results of those with an earlier one are
    computed by another version from then on; looks stay as they were recorded. All days are those of UTC again.
    """
    connection = op.get_bind()
    for (project, key), version in _judging(connection).items():
        same = (_PAST.c.project == project, _PAST.c.key == key, _PAST.c.version == version)
        definition = connection.scalar(sa.select(_PAST.c.definition).where(*same))
        if definition is not None:  # else it is the newest
            is_that = (_METRIC.c.project == project, _METRIC.c.key == key)
            connection.execute(sa.update(_METRIC).where(*is_that).values(definition=definition))
    _forget_versions(connection)
    op.drop_table("metric_version")
    for table, column in (
        ("metric", "version_created_at"),
        ("metric", "version"),
        ("project", "revision"),
        ("project", "time_zone"),
    ):
        op.drop_column(table, column)


def _judging(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """The version of each metric that started experiments use, of several the newest."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row, uses in _experiments(connection):
        for use in uses if row.status != "draft" else ():
            place = (row.project, use["metric"])
            found[place] = max(found[place], use.get("version") or 1)
    return found


def _forget_versions(connection: sa.Connection) -> None:
    """Take what is pinned out of the definitions: after another upgrade it would name what is not there."""
    for row, uses in _experiments(connection):
        if all(use.get("version") is None for use in uses):
            continue
        definition = json.loads(row.definition)
        for use in definition["metrics"]:
            use.pop("version", None)
        text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
        is_that = (_EXPERIMENT.c.project == row.project, _EXPERIMENT.c.key == row.key)
        connection.execute(sa.update(_EXPERIMENT).where(*is_that).values(definition=text))


def _experiments(connection: sa.Connection) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    for row in connection.execute(sa.select(_EXPERIMENT)).all():
        yield row, json.loads(row.definition).get("metrics", [])
