"""Replace the raw ids of a table by the platform's pseudonyms, so that an analyst can join the two; always audited."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from abplatform.domain.checks import printable
from abplatform.domain.events import LONGEST_ID, LONGEST_UNIT_TYPE
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.assign_units import read_texts
from abplatform.services.fit_columns import check_times, fit_column, fit_schema
from abplatform.services.read_table.pseudonyms import pseudonymise_column
from abplatform.services.read_table.roles import IDS, hint_for
from abplatform.services.read_table.source import Batch, Progress, check_columns, is_parquet, read_batches, read_header
from abplatform.services.record import describe_file, file_state, name_file
from abplatform.storage.session import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudonymRequest:
    """What a person asks for.

    Attributes:
        path: CSV or Parquet.
        column: which column has the ids.
        unit_type: what they identify; by default the project's units.
        output: the file that is written; ``format`` is ``csv`` or ``parquet``.
    """

    path: Path
    column: str
    unit_type: str | None
    output: Path
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is in a table.

    Attributes:
        rows: how many it has.
        without_id: those whose id is empty or null: they get no pseudonym.
        schema: of the table with pseudonyms: as before, with text in that column.
        state: size and time of the file, to notice that it changes.
    """

    rows: int
    without_id: int
    schema: pa.Schema
    state: tuple[int, int]


def survey_table(request: PseudonymRequest, *, progress: Progress | None = None) -> Survey:
    """Read the whole table once, so that nothing is wrong with it when it is on record and written.

    Raises:
        InvalidInput: it cannot be read, lacks the column, has a column that the output cannot hold, a row that cannot
            be split into columns, an id that no unit has, or text that is no UTF-8; a row is named by its number, never
            by its id.
    """
    state = file_state(request.path)
    schema = _read_schema(request)
    rows = without_id = 0
    for batch in read_batches(request.path, schema.names, nested=schema.names, progress=progress):
        ids = read_texts(batch, request.column)
        check_ids(batch, ids, request.column)
        for name in (name for name in schema.names if name != request.column):
            column = fit_column(batch, name, schema)
            if request.format == "csv":
                check_times(batch, name, column)
        rows += len(ids)
        without_id += ids.null_count
    return Survey(rows=rows, without_id=without_id, schema=schema, state=state)


def find_unit_type(uow: UnitOfWork, project: str, asked: str | None) -> str:
    """What the ids identify: what is asked, or the project's units.

    Raises:
        InvalidInput: the unit type cannot be one.
    """
    if asked is None:
        with uow.reading() as work:
            return work.projects.get(project).unit_type
    if not (0 < len(asked) <= LONGEST_UNIT_TYPE and printable(asked)):
        raise InvalidInput({"--unit-type": [f"must be 1 to {LONGEST_UNIT_TYPE} printable characters"]})
    return asked


def describe_disclosure(request: PseudonymRequest, survey: Survey, unit_type: str) -> dict[str, Any]:
    """Which pseudonyms somebody gets, as JSON values for the audit trail.

    Raises:
        InvalidInput: the table cannot be read any more.
    """
    return {
        **describe_file(request.path),
        "column": request.column,
        "unit_type": unit_type,
        "rows": survey.rows,
        "without_id": survey.without_id,
        "output": name_file(request.output),
    }


def pseudonymise_table(
    request: PseudonymRequest, survey: Survey, unit_type: str, *, secret: bytes, progress: Progress | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of the table in their order, with pseudonyms in place of the ids; the other columns are as they were.

    Args:
        request: of which table; that it is written must be on record.
        survey: of the same table.
        unit_type: as `find_unit_type` gave it.
        secret: the key of the pseudonyms.
        progress: is called with the share of the file that has been read, from 0 to 1.

    Raises:
        Conflict: the file changed since the survey.
    """
    schema = survey.schema
    for batch in read_batches(request.path, schema.names, nested=schema.names, progress=progress):
        columns = {name: fit_column(batch, name, schema) for name in schema.names if name != request.column}
        columns[request.column] = pseudonymise_column(secret, unit_type, read_texts(batch, request.column))
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
    if file_state(request.path) != survey.state:
        raise Conflict(f"{request.path} changed while it was read; run this again")


def _read_schema(request: PseudonymRequest) -> pa.Schema:
    path = request.path
    header = read_header(path)
    try:
        check_columns(path, header, [request.column])
    except InvalidInput as error:
        raise InvalidInput({"--unit": error.errors["column"]}) from None
    if not is_parquet(path):
        return pa.schema([(name, pa.string()) for name in header])
    schema = parquet.read_schema(path).remove_metadata()
    type_ = schema.field(request.column).type
    if not IDS.allows(type_.value_type if pa.types.is_dictionary(type_) else type_):
        hint = hint_for(IDS, type_)
        raise InvalidInput({"--unit": [f"{request.column!r} holds {type_}, but must be {IDS.rule}{hint}"]})
    position = schema.get_field_index(request.column)
    return fit_schema(schema.set(position, pa.field(request.column, pa.string())), request.format)


def check_ids(batch: Batch, ids: pa.Array, column: str) -> None:
    """Refuse ids that no unit has.

    Raises:
        InvalidInput: naming the row by its number, never by its id.
    """
    bad = pc.fill_null(pc.or_(pc.greater(pc.utf8_length(ids), LONGEST_ID), pc.match_substring(ids, "\0")), False)
    first = pc.index(bad, True).as_py()
    if first >= 0:
        rule = f"{column!r} must be 1 to {LONGEST_ID} characters without NUL"
        raise InvalidInput({"file": [f"row {batch.numbers[first]}: {rule}"]})
