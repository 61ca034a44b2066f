"""Facts on their way through the inbox, as tests say and see them: one object each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from abplatform.domain.events import ConversionFact, EventKind, ExposureFact
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.layout import Fact, arrow_schema, facts_to_arrow
from abplatform.warehouse.payload import unpack
from abplatform.warehouse.rejections import Rejection

_FACT_TYPES: dict[str, type[Fact]] = {"exposure": ExposureFact, "conversion": ConversionFact}


def keep(
    inbox: Inbox,
    project: str,
    kind: EventKind,
    facts: Sequence[Fact],
    rejections: Sequence[Rejection] = (),
    *,
    received_at: datetime,
) -> None:
    """Add facts to an inbox as one request's."""
    table = facts_to_arrow(kind, facts) if facts else None
    inbox.add(project, kind, table, rejections, received_at=received_at)


def arrow_to_facts(kind: EventKind, table: pa.Table) -> list[Fact]:
    """The rows of a table of the lake as facts; files from before a column may lack it."""
    names = [name for name in arrow_schema(kind).names if name in table.column_names]
    columns = [
        [dict(each or ()) for each in column.to_pylist()] if pa.types.is_map(column.type) else column.to_pylist()
        for column in (table.column(name) for name in names)
    ]
    return [_FACT_TYPES[kind](**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def unpack_facts(kind: EventKind, payload: bytes) -> list[Any]:
    """The facts of a row of the inbox."""
    return arrow_to_facts(kind, unpack(kind, payload))
