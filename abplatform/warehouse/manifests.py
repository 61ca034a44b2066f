"""What the manifests of the lake say about its files. Manifests never change, so each is decoded once per process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyiceberg.conversions import from_bytes
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry, ManifestFile
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import StringType, TimestamptzType

from abplatform.domain.events import EventKind
from abplatform.warehouse.commit_times import CommitTimes
from abplatform.warehouse.layout import field_id
from abplatform.warehouse.object_store import read_path
from abplatform.warehouse.places import find_place
from abplatform.warehouse.recent import Recent

_MOST_FILES = 100_000
_MOST_MANIFESTS = 100_000
_EPOCH = date(1970, 1, 1)
_EPOCH_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One Parquet file of a table.

    Attributes:
        path: where it is now, as readers open it: a path of this machine, or an ``s3a://`` address, which every DuckDB
            of `warehouse.duck` and Spark understand.
        rows: how many facts it holds.
        committed_at: when the lake got it, or up to a day later if that commit has been forgotten; None if unknown.
        first_id, last_id: bounds of its event ids; None if unknown.
        last_receipt: latest ``received_at`` in it; None if unknown.
        location: its name in the catalog, ``file://`` or ``s3://``.
        size: its bytes.
        day: of its events' own times, in UTC.
        sequence_number: of the commit that brought the file; its rows are of that commit or, if they were compacted,
            of earlier ones (`layout.SEQUENCE_NUMBER`).
    """

    path: str
    rows: int
    committed_at: datetime | None
    first_id: str | None
    last_id: str | None
    last_receipt: datetime | None
    location: str
    size: int
    day: date
    sequence_number: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a manifest says about a file: the fields of `LakeFile` that do not depend on when it is asked."""

    sequence_number: int
    location: str
    rows: int
    size: int
    day: date
    first_id: str | None
    last_id: str | None
    last_receipt: datetime | None


_entries: Recent[str, tuple[_Entry, ...]] = Recent(_MOST_FILES)
_lists: Recent[str, tuple[ManifestFile, ...]] = Recent(_MOST_MANIFESTS)
_manifests: Recent[str, ManifestFile] = Recent(_MOST_MANIFESTS)


def list_manifests(snapshot: Snapshot, io: FileIO) -> tuple[ManifestFile, ...]:
    """The manifests of a state of a table."""

    def read() -> tuple[ManifestFile, ...]:
        return tuple(map(_keep_one, snapshot.manifests(io)))

    return _lists.fetch(snapshot.manifest_list, read, len)


def list_files(snapshots: Iterable[Snapshot], io: FileIO, kind: EventKind, times: CommitTimes) -> tuple[LakeFile, ...]:
    """All files of one or more states of a table, by path; one that several manifests name comes several times.

    Raises:
        ValueError: if another program wrote delete files.
    """
    manifests = {each.manifest_path: each for snapshot in snapshots for each in list_manifests(snapshot, io)}
    entries = (entry for manifest in manifests.values() for entry in _read_entries(manifest, io, kind))
    return tuple(sorted((_describe(entry, times, io) for entry in entries), key=lambda file: file.path))


def list_locations(snapshot: Snapshot, io: FileIO, kind: EventKind) -> Iterator[str]:
    """Every file that a state of a table needs: its list of manifests, the manifests, and the data files."""
    yield snapshot.manifest_list
    for manifest in list_manifests(snapshot, io):
        yield manifest.manifest_path
        yield from (entry.location for entry in _read_entries(manifest, io, kind))


def oldest_day(snapshot: Snapshot, io: FileIO, kind: EventKind) -> date | None:
    """The first day that a state of a table has events of; None without any."""
    manifests = list_manifests(snapshot, io)
    return min((entry.day for manifest in manifests for entry in _read_entries(manifest, io, kind)), default=None)


def find_data_files(snapshot: Snapshot, io: FileIO, kind: EventKind, locations: Iterable[str]) -> list[DataFile]:
    """Iceberg's own records of some files; those that are not part of the state are left out."""
    wanted = set(locations)
    return [
        entry.data_file
        for manifest in list_manifests(snapshot, io)
        if any(each.location in wanted for each in _read_entries(manifest, io, kind))
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
        if entry.data_file.file_path in wanted
    ]


def _read_entries(manifest: ManifestFile, io: FileIO, kind: EventKind) -> tuple[_Entry, ...]:
    def read() -> tuple[_Entry, ...]:
        return tuple(_decode(entry, kind) for entry in manifest.fetch_manifest_entry(io, discard_deleted=True))

    return _entries.fetch(manifest.manifest_path, read, lambda entries: 1 + len(entries))


def _keep_one(manifest: ManifestFile) -> ManifestFile:
    """One object for each manifest: the lists of successive states name nearly the same ones."""
    return _manifests.fetch(manifest.manifest_path, lambda: manifest)


def _decode(entry: ManifestEntry, kind: EventKind) -> _Entry:
    file: DataFile = entry.data_file
    if file.content is not DataFileContent.DATA:
        raise ValueError(f"the lake must not hold delete files, but another program wrote {file.file_path}")
    ids, receipt = field_id(kind, "event_id"), field_id(kind, "received_at")
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    received = from_bytes(TimestamptzType(), upper[receipt]) if receipt in upper else None
    return _Entry(
        sequence_number=entry.file_sequence_number or 0,
        location=file.file_path,
        rows=file.record_count,
        size=file.file_size_in_bytes,
        day=_EPOCH + timedelta(days=_day_number(file)),
        first_id=from_bytes(StringType(), lower[ids]) if ids in lower else None,
        last_id=from_bytes(StringType(), upper[ids]) if ids in upper else None,
        last_receipt=_from_microseconds(received),
    )


def _describe(entry: _Entry, times: CommitTimes, io: FileIO) -> LakeFile:
    return LakeFile(
        path=read_path(find_place(entry.location, io.properties)),
        rows=entry.rows,
        committed_at=times.find(entry.sequence_number),
        first_id=entry.first_id,
        last_id=entry.last_id,
        last_receipt=entry.last_receipt,
        location=entry.location,
        size=entry.size,
        day=entry.day,
        sequence_number=entry.sequence_number,
    )


def _day_number(file: DataFile) -> int:
    number: int = file.partition[0]
    return number


def _from_microseconds(value: Any) -> datetime | None:
    if value is None:
        return None
    seconds, microseconds = divmod(int(value), _EPOCH_MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
