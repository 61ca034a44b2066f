"""Long lists in pages, newest first, by a cursor that stays right while rows come and go."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from abplatform.domain.checks import KEY
from abplatform.errors import InvalidInput

Item = TypeVar("Item")

LONGEST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list.

    Attributes:
        next_cursor: asks for the items after these; None at the end.
    """

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: creation time and key of its last item."""

    created_at: datetime
    key: str


def read_page(
    connection: sa.Connection,
    table: sa.FromClause,
    wanted: sa.ColumnElement[bool],
    *,
    limit: int,
    cursor: str | None,
    build: Callable[[Any], Item],
) -> Page[Item]:
    """Read one page of a table with the columns ``created_at`` and ``key``.

    An item that exists during a whole walk through the pages is met exactly once, whatever is added meanwhile.

    Args:
        limit: most items, 1 to 1000.
        cursor: ``next_cursor`` of the page before; None for the first one.
        build: makes an item of a row.

    Raises:
        InvalidInput: naming ``limit`` or ``cursor``.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput({"limit": [f"must be from 1 to {LONGEST_PAGE}"]})
    columns = table.c
    query = sa.select(table).where(wanted).order_by(columns.created_at.desc(), columns.key.desc()).limit(limit + 1)
    if cursor is not None:
        position = read_cursor(cursor)
        is_older = columns.created_at < position.created_at
        is_next = sa.and_(columns.created_at == position.created_at, columns.key < position.key)
        query = query.where(sa.or_(is_older, is_next))
    rows = connection.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else write_cursor(Position(last.created_at, last.key))
    return Page(tuple(build(row) for row in rows[:limit]), following)


def write_cursor(position: Position) -> str:
    """A position as text that is safe in a URL."""
    text = json.dumps([position.created_at.isoformat(), position.key])
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Position:
    """The position that a cursor names.

    Raises:
        InvalidInput: it is none that `write_cursor` has made.
    """
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        created_at, key = json.loads(text)
        position = Position(datetime.fromisoformat(created_at), key)
        genuine = KEY.fullmatch(key) is not None and write_cursor(position) == cursor
    except (ValueError, TypeError, RecursionError):
        genuine = False
    if not genuine or position.created_at.tzinfo is None:
        raise InvalidInput({"cursor": ["must be the next_cursor of an earlier page"]})
    return position
