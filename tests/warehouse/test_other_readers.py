"""The tables read by another implementation of Iceberg: ClickHouse, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from abplatform.domain.events import EventKind
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import TABLE_NAMES, arrow_schema, facts_to_arrow
from abplatform.warehouse.removal import expire
from tests.builders import a_conversion_fact, later
from tests.warehouse.lakes import KEEP, facts_of, fill, hence, nobody
from tests.warehouse.sql_engines import need
from tests.warehouse.test_older_lakes import OlderLake, older  # noqa: F401  (a fixture)

# It reads files below the folder that it runs in only.
READER = """
import chdb, sys
for line in sys.stdin:
    answer = chdb.query(line, "JSONCompactEachRow")
    print("[" + ",".join(answer.bytes().decode().splitlines()) + "]", flush=True)
"""


def read_as_clickhouse(folder: Path, kind: EventKind) -> list[list[object]]:
    """All rows of a table by event id: texts, whole numbers, and maps of texts."""
    need(present=find_spec("chdb") is not None, how="chDB is missing; run: pip install chdb-core")
    exact = {"timestamp": "toUnixTimestamp64Micro({})", "decimal128(20, 6)": "toString({})"}
    columns = [
        next(
            (call.format(field.name) for type_, call in exact.items() if str(field.type).startswith(type_)), field.name
        )
        for field in arrow_schema(kind)
    ]
    query = f"SELECT {', '.join(columns)} FROM icebergLocal('{folder / TABLE_NAMES[kind]}') ORDER BY event_id"
    done = subprocess.run(
        [sys.executable, "-c", READER], input=f"{query}\n", cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[object]] = json.loads(done.stdout)
    return rows


def as_read(lake: Lake, kind: EventKind) -> list[list[object]]:
    """The same from our own facts."""
    table = facts_to_arrow(kind, facts_of(lake, kind))
    rows = []
    for row in table.to_pylist():
        values = []
        for field in arrow_schema(kind):
            value = row[field.name]
            if str(field.type).startswith("timestamp"):
                value = int(value.timestamp()) * 1_000_000 + value.microsecond
            elif str(field.type).startswith("decimal"):
                value = None if value is None else f"{value:f}".rstrip("0").rstrip(".")
            elif str(field.type).startswith("map"):
                value = dict(value or [])
            values.append(value)
        rows.append(values)
    return rows


@pytest.mark.parametrize("kind", ["exposure", "conversion"])
def test_clickhouse_reads_the_same_rows_before_and_after_tidying_up(
    local_lake: Lake, tmp_path: Path, kind: EventKind
) -> None:
    folder = tmp_path / "lake" / "default"
    fill(local_lake, kind)
    expected = as_read(local_lake, kind)
    assert len(expected) == 6
    assert read_as_clickhouse(folder, kind) == expected

    compact(local_lake, "default", kind, now=hence())
    assert read_as_clickhouse(folder, kind) == expected

    expire(local_lake, "default", kind, now=hence(hours=25), keep=KEEP, claimed=nobody)
    assert read_as_clickhouse(folder, kind) == expected


def test_clickhouse_reads_files_from_before_a_column(older: OlderLake, tmp_path: Path) -> None:  # noqa: F811
    lake, folder = Lake(older.root, older.url), tmp_path / "lake" / "default"
    new = a_conversion_fact("new", units={"device_id": "device-1"}, timestamp=later(days=-1))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [new]))
    expected = as_read(lake, "conversion")
    assert read_as_clickhouse(folder, "conversion") == expected

    fill(lake, "conversion", commits=1)
    compact(lake, "default", "conversion", now=hence())

    assert read_as_clickhouse(folder, "conversion") == as_read(lake, "conversion")
    lake.close()
