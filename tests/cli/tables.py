"""Tables to import, and a place to import them into."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abplatform.bootstrap import Platform, build_platform, prepare_database
from abplatform.domain.audit import Actor
from abplatform.services.adopt import ImportReport, ImportRequest, Outcome, RowFault, Target, adopt_table
from abplatform.settings import Settings
from abplatform.warehouse.layout import arrow_schema
from tests.builders import NOW

ACTOR = Actor(os_user="tester", name="Li Na")


def write_csv(path: Path, header: Sequence[str], *rows: Sequence[object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def a_request(path: Path, **changes: Any) -> ImportRequest:
    """Columns ``arm`` (control ``a``) and the conversion ``bought``."""
    defaults: dict[str, Any] = {
        "path": path,
        "key": "trial",
        "variant": "arm",
        "control": "a",
        "outcomes": (Outcome(column="bought", kind="conversion"),),
    }
    return ImportRequest(**defaults | changes)


@contextmanager
def a_platform(home: Path) -> Iterator[Platform]:
    settings = Settings(home=home)
    prepare_database(settings)
    with build_platform(settings) as platform:
        yield platform


def import_table(platform: Platform, request: ImportRequest) -> tuple[ImportReport, list[RowFault]]:
    faults: list[RowFault] = []
    report = adopt_table(a_target(platform), request, actor=ACTOR, clock=lambda: NOW, on_fault=faults.append)
    return report, faults


def a_target(platform: Platform) -> Target:
    return Target(
        database=platform.database,
        uow=platform.uow,
        lake=platform.lake,
        project="default",
        secret=platform.pseudonym_key,
    )


def facts(platform: Platform, kind: Any) -> list[dict[str, Any]]:
    """All facts of a kind in the lake, by event id."""
    parts = [
        pq.read_table(file.path.removeprefix("file://"), schema=arrow_schema(kind))
        for file in platform.lake.files("default", kind)
    ]
    rows = pa.concat_tables(parts).to_pylist() if parts else []
    return sorted(rows, key=lambda row: str(row["event_id"]))
