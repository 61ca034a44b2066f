"""Layers, holdouts and segments come and go with their rows; what was there before stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from abplatform.database import open_database, reading, transaction
from abplatform.storage import migrate, schema
from tests.builders import NOW

NEW = {"layer", "holdout", "segment"}
STATE = {"project": "default", "key": "one", "revision": 1, "created_at": NOW}


@pytest.fixture
def empty(empty_url: str) -> Iterator[sa.Engine]:
    """A new database without tables, open."""
    engine = open_database(empty_url)
    yield engine
    engine.dispose()


def new_tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) & NEW


def test_it_goes_up_and_down_with_rows(empty_url: str, empty: sa.Engine) -> None:
    migrate.upgrade(empty_url)
    with transaction(empty) as connection:
        project = {"key": "default", "name": "Default", "unit_type": "user_id", "created_at": NOW}
        connection.execute(sa.insert(schema.project).values(**project))
        connection.execute(sa.insert(schema.metric).values(**STATE, definition="{}"))
    for _ in range(2):
        assert new_tables(empty) == NEW
        fill(empty)
        migrate.downgrade(empty_url, "0001")
        assert new_tables(empty) == set()
        migrate.upgrade(empty_url)
    with reading(empty) as connection:
        assert connection.scalars(sa.select(schema.metric.c.key)).all() == ["one"]
        assert connection.scalars(sa.select(schema.layer.c.key)).all() == []


def fill(engine: sa.Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.insert(schema.layer).values(**STATE, salt="x", definition="{}"))
        connection.execute(sa.insert(schema.holdout).values(**STATE, salt="x", definition="{}", ended_at=NOW))
        members = "[" + ",".join(["0" * 70] * 50_000) + "]"
        connection.execute(
            sa.insert(schema.segment).values(
                **STATE, salt="x", name="n", kind="units", member_count=50_000, members=members
            )
        )
