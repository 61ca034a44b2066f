"""Does the lake hold what it says it holds? Every file against its manifest, and every manifest against the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from abplatform.domain.events import EventKind
from abplatform.errors import Conflict, Unavailable
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.data_files import file_schema
from abplatform.warehouse.lake import Lake, LakeTable
from abplatform.warehouse.layout import TABLE_NAMES
from abplatform.warehouse.manifests import LakeFile
from abplatform.warehouse.missing import TableLost
from abplatform.warehouse.places import find_place
from abplatform.warehouse.removal import GRACE, StoredFile, list_stored
from abplatform.warehouse.snapshots import needed_locations

_THREADS = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        location: where the file is, or should be.
        problem: what is wrong with it, as the rest of a sentence.
    """

    location: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """What was found in a table.

    Attributes:
        files: data files of the present state and of the earlier ones that are kept.
        rows: rows of the present state.
        findings: what is wrong; nothing if all is well.
        orphans: files that no state names, and that are too old to belong to a commit under way. They do no harm; the
            worker removes them.
        young: how many younger ones there are.
    """

    files: int = 0
    rows: int = 0
    findings: tuple[Finding, ...] = ()
    orphans: tuple[StoredFile, ...] = ()
    young: int = 0


def recount(
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    now: datetime,
    grace: timedelta = GRACE,
    progress: Callable[[float], None] = lambda _share: None,
) -> Recount:
    """Compare a table's files with what the catalog and the manifests say of them.

    Of each data file the footer is read: its rows, and its columns. Events that come in meanwhile do no harm. A table
    that cannot be opened is damage like any other.

    Args:
        lake: holds the table.
        project: key of the project.
        kind: exposures or conversions.
        now: the time.
        grace: age from which on a file that nothing names is called an orphan.
        progress: told the share that is done, 0 to 1.

    Raises:
        Unavailable: if the catalog or the storage does not answer.
    """
    try:
        before = lake.find(project, kind)
        if before is None:
            return Recount()
        stored = {file.location: file for file in list_stored(before.iceberg)}
        # Opened after the listing: a file that was committed meanwhile is no orphan.
        table = lake.find(project, kind) or before
    except TableLost as lost:
        return Recount(findings=(Finding(lost.location, lost.problem),))
    except Conflict as error:
        return Recount(findings=(Finding(f"{lake.root}/{project}/{TABLE_NAMES[kind]}", f"cannot be: {error.detail}"),))
    try:
        needed, files, present = needed_locations(table), table.kept_files(), table.files()
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - what damage does to the bytes of a manifest has no end of names
        verb = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        names = f"names a file that {verb}: {' '.join(str(error).split())}"
        return Recount(findings=(Finding(_place(table, table.iceberg.metadata_location), names),))
    unnamed = [file for location, file in stored.items() if location not in needed]
    orphans = tuple(file for file in unnamed if file.written_at < now - grace)
    return Recount(
        files=len(files),
        rows=sum(file.rows for file in present),
        findings=tuple(
            replace(finding, location=_place(table, finding.location))
            for finding in (
                *_find_missing(table.iceberg, needed - stored.keys()),
                *_find_repeated(present),
                *_find_wrong(table, [file for file in files if file.location in stored], stored, progress),
            )
        ),
        orphans=tuple(replace(file, location=_place(table, file.location)) for file in orphans),
        young=len(unnamed) - len(orphans),
    )


def _place(table: LakeTable, location: str) -> str:
    return find_place(location, table.iceberg.io.properties)


def _find_missing(table: Table, unlisted: set[str]) -> Iterator[Finding]:
    for location in sorted(unlisted):
        with lake_answers():
            there = table.io.new_input(location).exists()
        if not there:
            yield Finding(location, "is missing")


def _find_repeated(files: tuple[LakeFile, ...]) -> Iterator[Finding]:
    for location, times in Counter(file.location for file in files).items():
        if times > 1:
            yield Finding(location, f"is named {times} times, so that its rows count as often")


def _find_wrong(
    table: LakeTable, files: list[LakeFile], stored: Mapping[str, StoredFile], progress: Callable[[float], None]
) -> list[Finding]:
    schema, findings = file_schema(table.iceberg.schema()), []
    with ThreadPoolExecutor(_THREADS) as pool:
        checks = [pool.submit(_check, table.iceberg, schema, file, stored[file.location].size) for file in files]
        for done, check in enumerate(as_completed(checks), start=1):
            findings += check.result()
            progress(done / len(checks))
    return sorted(findings, key=lambda finding: finding.location)


def _check(table: Table, schema: pa.Schema, file: LakeFile, size: int) -> list[Finding]:
    problems = []
    if size != file.size:
        problems.append(f"has {size} bytes, and {file.size} by its manifest")
    try:
        with table.io.new_input(file.location).open() as stream:
            footer = pq.read_metadata(stream)
    except FileNotFoundError:
        problems.append("is missing")
    except (pa.ArrowInvalid, OSError) as error:
        problems.append(f"cannot be read: {' '.join(str(error).split())}")
    else:
        if footer.num_rows != file.rows:
            problems.append(f"holds {footer.num_rows} rows, and {file.rows} by its manifest")
        problems += _compare(footer.schema.to_arrow_schema(), schema)
    return [Finding(file.location, problem) for problem in problems]


def _compare(found: pa.Schema, wanted: pa.Schema) -> Iterator[str]:
    names = set(found.names)
    for field in wanted:
        if field.name in names:
            column = found.field(field.name)
            if column.type != field.type:
                yield f"has the column {field.name} as {column.type}, not {field.type}"
        elif not field.nullable:
            yield f"lacks the column {field.name}"
    for name in sorted(names - set(wanted.names)):
        yield f"has a column {name} that the table does not have"
