"""Say of each raw id of a table which class its unit has, for a product to target on.

Raw ids are turned into pseudonyms in memory, looked up, and written to the person's own file beside the class: nothing
else ever holds them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.behaviour import NONE, BehaviourKind, PastRequest
from abplatform.errors import Conflict, InvalidInput
from abplatform.services.assign_units import read_texts
from abplatform.services.pin_edges import Past
from abplatform.services.pseudonymise import check_ids
from abplatform.services.read_table.pseudonyms import pseudonymise_column
from abplatform.services.read_table.source import Progress, read_batches, read_header
from abplatform.services.record import describe_file, file_state, name_file
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.warehouse.missing import files_are_there

_MONEY = pa.decimal128(30, 6)
_DAY = 86_400_000_000  # microseconds
_LOOKED_UP = 65_536
_COLUMNS: dict[BehaviourKind, dict[str, tuple[str, pa.DataType]]] = {
    "rfm": {
        "recency_days": ("recency", pa.float64()),
        "frequency": ("frequency", pa.int64()),
        "money": ("money", _MONEY),
    },
    "life_cycle": {
        "known_days": ("age", pa.float64()),
        "recent_activities": ("recent", pa.int64()),
        "older_activities": ("older", pa.int64()),
        "recent_amount": ("recent_amount", _MONEY),
        "older_amount": ("older_amount", _MONEY),
    },
    "channel": {},
}
"""The numbers that a class rests on: what the file calls them, what the engine does, and their type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What a person asks for.

    Attributes:
        path: CSV or Parquet with raw ids.
        column: which column has them.
        unit_type: what they identify, where that is not the project's units; else None.
        output: the file that is written.
        stored: the version of the behaviour.
        time: events at or after it do not count.
    """

    path: Path
    column: str
    unit_type: str | None
    output: Path
    stored: StoredBehaviour
    time: datetime

    @property
    def schema(self) -> pa.Schema:
        """Of the file that is written."""
        numbers = _COLUMNS[self.stored.behaviour.kind]
        known = [("class", pa.string()), *((name, type_) for name, (_, type_) in numbers.items())]
        return pa.schema([(self.column, pa.string()), *known])


@dataclass(slots=True)
class Exported:
    """What came of an export, known when all rows are through.

    Attributes:
        rows: of the table.
        classes: how many rows have which class; the empty text for those without any.
    """

    rows: int = 0
    classes: Counter[str] = field(default_factory=Counter)


def check_export(request: ExportRequest, *, now: datetime) -> None:
    """Refuse what cannot be written, before anything is read.

    Raises:
        InvalidInput: the table cannot be read or lacks the column, the column has the name of another one that is
            written, or the time is still to come.
    """
    if request.time > now:
        raise InvalidInput({"--as-of": ["is still to come: what units do until then is not known"]})
    try:
        read_header(request.path, [request.column])
    except InvalidInput as error:
        raise InvalidInput({"--column": error.errors.get("column", [error.detail])}) from None
    if request.column in request.schema.names[1:]:
        raise InvalidInput({"--column": [f"must not be {request.column!r}, which is written beside it"]})


@files_are_there()
def find_classes(past: Past, project: str, request: ExportRequest) -> Classes:
    """The classes of all units, from everything acknowledged before this call.

    Raises:
        Unavailable: if the database, the lake or the engine does not answer.
    """
    past.seal(project)
    state = past.lake.state(project).conversions
    behaviour = request.stored.behaviour
    question = PastRequest(
        project=project, behaviour=behaviour, time=request.time, unit_type=request.unit_type, state=state
    )
    return Classes(behaviour.kind, past.engine.past_classes(past.lake, question))


def describe_export(request: ExportRequest, unit_type: str) -> dict[str, Any]:
    """Whose classes somebody gets, as JSON values for the audit trail.

    Raises:
        InvalidInput: the table cannot be read any more.
    """
    return {
        **describe_file(request.path),
        "column": request.column,
        "unit_type": unit_type,
        "behaviour": request.stored.key,
        "version": request.stored.version,
        "as_of": request.time.isoformat(),
        "output": name_file(request.output),
    }


def export_classes(
    request: ExportRequest,
    classes: Classes,
    unit_type: str,
    *,
    secret: bytes,
    exported: Exported,
    progress: Progress | None = None,
) -> Iterator[pa.RecordBatch]:
    """The ids of the table in their order, each with the class of its unit and the numbers that it rests on.

    A row without an id has no class.

    Args:
        request: of which table; that it is written must be on record.
        classes: see `find_classes`.
        unit_type: of the ids.
        secret: the key of the pseudonyms.
        exported: is told what was given.
        progress: is called with the share of the file that has been read, from 0 to 1.

    Raises:
        InvalidInput: a row cannot be split into columns, or an id is none; it is named by its number.
        Conflict: the file changed while it was read.
    """
    state = file_state(request.path)
    for batch in read_batches(request.path, [request.column], progress=progress):
        ids = read_texts(batch, request.column).cast(pa.string())
        check_ids(batch, ids, request.column)
        found = classes.of(pseudonymise_column(secret, unit_type, ids))
        exported.rows += len(ids)
        counted = pc.fill_null(found[0], "").value_counts()
        exported.classes.update(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
        yield pa.RecordBatch.from_arrays([ids, *found], schema=request.schema)
    if file_state(request.path) != state:
        raise Conflict(f"{request.path} changed while it was read; run this again")


class Classes:
    """Classes of units, to be looked up by pseudonyms.

    Args:
        kind: of the behaviour.
        table: see `past_units.past_classes`.
    """

    def __init__(self, kind: BehaviourKind, table: pa.Table) -> None:
        units = _as_bytes(table["unit"])
        self._order = np.argsort(units, kind="stable")
        self._units = units[self._order]
        self._nobody = None if kind == "channel" else NONE
        self._columns = [
            _plain_texts(table["class"].combine_chunks()),
            *(_as_shown(table[name].combine_chunks(), type_) for name, type_ in _COLUMNS[kind].values()),
        ]

    def of(self, pseudonyms: pa.Array) -> list[pa.Array]:
        """The class of each unit, and the numbers that it rests on; those of nobody are 0, and times are null."""
        wanted, known = _as_bytes(pseudonyms), np.zeros(len(pseudonyms), bool)
        places = np.zeros(len(pseudonyms), np.int64)
        if len(self._units):
            near = np.minimum(np.searchsorted(self._units, wanted), len(self._units) - 1)
            known = self._units[near] == wanted
            places = self._order[near]
        taken = [column.take(pa.array(places, mask=~known)) for column in self._columns]
        texts, *numbers = taken
        has_id = pseudonyms.is_valid()
        return [
            pc.if_else(has_id, texts if self._nobody is None else pc.fill_null(texts, self._nobody), None),
            *(pc.if_else(has_id, _filled(column), pa.scalar(None, column.type)) for column in numbers),
        ]


def _as_bytes(texts: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Texts of at most 64 bytes, in parts: as objects all at once they would take a multiple of the room."""
    parts = [
        np.array(texts.slice(start, _LOOKED_UP).fill_null("").to_pylist(), "S64")
        for start in range(0, len(texts), _LOOKED_UP)
    ]
    return np.concatenate(parts) if parts else np.array([], "S64")


def _plain_texts(classes: pa.Array) -> pa.Array:
    """Classes as texts: of a property that is a text what stands in it, of others their JSON."""
    distinct = classes.dictionary_encode()
    texts = distinct.dictionary.to_pylist()
    plain = [json.loads(text) if text.startswith('"') else text for text in texts]
    return pa.array(plain, pa.string()).take(distinct.indices)


def _as_shown(numbers: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_floating(type_):
        return pc.divide(numbers.cast(pa.float64()), float(_DAY))
    return numbers.cast(type_)


def _filled(column: pa.Array) -> pa.Array:
    """Numbers of units that did nothing; they have no time."""
    return column if pa.types.is_floating(column.type) else column.fill_null(pa.scalar(0).cast(column.type))
