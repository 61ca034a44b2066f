"""Whole tables into the lake, past the inbox: for imports."""

from __future__ import annotations

import uuid

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException

from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.warehouse.lake import MOST_COMMIT_TRIES, NAMED_SEAL, Lake
from abplatform.warehouse.layout import arrow_schema


def append_facts(lake: Lake, project: str, kind: EventKind, table: pa.Table, *, seal_id: str | None = None) -> None:
    """Append facts in one commit, sorted; all of them or none. Event ids are not compared with what is there.

    Args:
        lake: gets the facts.
        project: key of the project.
        kind: exposures or conversions.
        table: with the columns of `layout.arrow_schema`, in any order; optional ones may be missing. See
            `layout.facts_to_arrow`.
        seal_id: repeating a call with the same one within a month adds nothing; by default a new one.

    Raises:
        ValueError: if ``table`` lacks a column, or has values that do not fit.
        Unavailable: if the catalog does not answer, or others kept changing the table.
    """
    rows = _shape(kind, table)
    if not rows.num_rows:
        return
    name = seal_id or str(uuid.uuid4())
    for _ in range(MOST_COMMIT_TRIES):
        target = lake.open(project, kind)
        if target.find_seal(name) is not None:
            return
        try:
            target.append(rows, name, {} if seal_id is None else {NAMED_SEAL: "true"})
        except CommitFailedException:
            continue
        return
    raise Unavailable("the lake keeps changing; try again shortly")


def _shape(kind: EventKind, table: pa.Table) -> pa.Table:
    schema = arrow_schema(kind)
    for field in schema:
        if field.name not in table.column_names:
            if not field.nullable:
                raise ValueError(f"table must have the column {field.name}")
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    try:
        return table.select(schema.names).cast(schema)
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"table has values that do not fit: {error}") from error
