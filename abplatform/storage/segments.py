"""Segments in the database; of units only digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from abplatform.domain.metric import Scalar
from abplatform.domain.segment import Segment, SegmentKind
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.pages import Page, read_page
from abplatform.storage.schema import segment as table


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """A segment with its state.

    Attributes:
        salt: of the digests of its units; random, made once by the server.
        revision: grows with every change; the ETag.
    """

    segment: Segment
    salt: str
    created_at: datetime
    revision: int = 1

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.segment.key


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOutline:
    """A segment without its members, which may be megabytes.

    Attributes:
        count: how many members it has.
    """

    key: str
    name: str
    kind: SegmentKind
    count: int
    created_at: datetime
    revision: int


class Segments(Definitions[StoredSegment]):
    """The segments of all projects, seen through one transaction."""

    table = table
    noun = "segment"

    def keys(self, project: str) -> frozenset[str]:
        """The keys of all segments of a project, without reading the segments."""
        return frozenset(self._connection.scalars(sa.select(table.c.key).where(table.c.project == project)))

    def outlines(self, project: str, *, limit: int, cursor: str | None) -> Page[SegmentOutline]:
        """Some segments of a project without their members, newest first.

        Raises:
            InvalidInput: naming ``limit`` or ``cursor``.
        """
        columns = [column for column in table.c if column.name != "members"]
        lean = sa.select(*columns).subquery()
        wanted = lean.c.project == project
        return read_page(self._connection, lean, wanted, limit=limit, cursor=cursor, build=_outline)

    def _build(self, row: Any) -> StoredSegment:
        is_of_values = row.kind == "values"
        segment = Segment(
            key=row.key,
            name=row.name,
            kind=row.kind,
            values=from_text(row.members, tuple[Scalar, ...]) if is_of_values else (),
            digests=() if is_of_values else from_text(row.members, tuple[str, ...]),
        )
        return StoredSegment(segment=segment, salt=row.salt, created_at=row.created_at, revision=row.revision)

    def _fixed(self, stored: StoredSegment) -> Mapping[str, Any]:
        return {"salt": stored.salt, "kind": stored.segment.kind}

    def _changeable(self, stored: StoredSegment) -> Mapping[str, Any]:
        segment = stored.segment
        members = segment.values if segment.kind == "values" else segment.digests
        return {"name": segment.name, "member_count": segment.count, "members": to_text(members)}


def _outline(row: Any) -> SegmentOutline:
    return SegmentOutline(
        key=row.key,
        name=row.name,
        kind=row.kind,
        count=row.member_count,
        created_at=row.created_at,
        revision=row.revision,
    )
