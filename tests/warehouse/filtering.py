"""Ask an engine which properties meet which filters; Spark is asked in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abplatform.domain.events import scalars_as_json
from abplatform.warehouse.filters import meets
from abplatform.warehouse.spark_engine import SparkEngine
from abplatform.warehouse.workspace import Workspace

COLUMNS = {"id": "int64", "properties": "map<string, string>"}


def write_properties(path: Path, rows: Sequence[Mapping[str, Any] | None]) -> str:
    """Write properties as the lake has them; gives the path back."""
    maps = [None if row is None else list(scalars_as_json(row, "properties").items()) for row in rows]
    columns = {"id": range(len(rows)), "properties": pa.array(maps, pa.map_(pa.string(), pa.string()))}
    pq.write_table(pa.table(columns), path)
    return str(path)


def ask(workspace: Workspace, path: str, asked: Sequence[Mapping[str, Any]]) -> list[list[bool]]:
    """For each filter whether it is met by each row, in one query."""
    table = workspace.read([path], COLUMNS)
    answers = {f"met{index}": meets(table.properties, condition) for index, condition in enumerate(asked)}
    rows = sorted(workspace.rows(table.select("id", **answers)), key=lambda row: row["id"])
    return [[row[name] for row in rows] for name in answers]


def ask_engine(engine: SparkEngine, path: str, asked: Sequence[Mapping[str, Any]]) -> list[list[bool]]:
    """The same where the engine is."""
    with engine._open() as workspace:
        return ask(workspace, path, asked)
