"""Files of unit tables, beside the tables of the lake, and the way to and from them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO

from abplatform.domain.aggregates import AggregationRequest, KeptUnits
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.durable_io import DurableFileIO
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.object_store import read_path

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from abplatform.warehouse.unit_table import UnitTable
    from abplatform.warehouse.workspace import Workspace

# Beside the folders of the two tables.
_FOLDER = "units"
# No writer takes longer from its first file to its entry in the database.
_GRACE = timedelta(hours=6)


def new_folder(lake: Lake, project: str) -> str:
    """The location of a folder for one unit table; nothing is made yet."""
    return f"{lake.root}/{project}/{_FOLDER}/{uuid.uuid4()}"


def find_units(lake: Lake, project: str, kept: KeptUnits) -> KeptUnits:
    """What was kept, where it is now: the lake may have been moved since."""
    return replace(kept, folder=f"{lake.root}/{project}/{_FOLDER}/{kept.folder.rpartition('/')[2]}")


def remove_files(folder: str) -> None:
    """Remove a folder with a unit table, if it is there. Who reads it now reads all events instead.

    Raises:
        Unavailable: if the storage does not answer.
    """
    system, path = _open(folder)
    with lake_answers(), suppress(FileNotFoundError):  # it may have been removed meanwhile
        system.delete_dir(path)


def remove_strays(lake: Lake, project: str, kept: Collection[str], *, now: datetime) -> int:
    """Remove the folders of a project that nothing names any more, or that a dead writer left; returns how many.

    Args:
        lake: beside whose tables they are.
        project: key of the project.
        kept: folders that are needed.
        now: the time; young ones may belong to a writer.

    Raises:
        Unavailable: if the storage does not answer.
    """
    root = f"{lake.root}/{project}/{_FOLDER}"
    newest: dict[str, datetime] = {}
    for location, written in _list_files(root):
        folder = f"{root}/{location.removeprefix(root).split('/')[1]}"
        newest[folder] = max(written, newest.get(folder, written))
    strays = [folder for folder, written in newest.items() if folder not in kept and written < now - _GRACE]
    for folder in strays:
        remove_files(folder)
    return len(strays)


def open_unit_table(workspace: Workspace, request: AggregationRequest, kept: KeptUnits) -> UnitTable:
    """What was kept, to be read by an engine."""
    # Here: Ibis is heavy, and those who only remove files have no use for it.
    from abplatform.warehouse.unit_table import EARLIER_COLUMNS, UnitTable, unit_columns, waiting_columns

    def read(part: str, columns: Mapping[str, str]) -> ir.Table:
        return workspace.read([read_path(f"{kept.folder}/{name}") for name in kept.parts[part]], columns)

    def read_earlier(part: str) -> ir.Table | None:
        return read(part, EARLIER_COLUMNS) if part in kept.parts else None

    return UnitTable(
        units=read("units", unit_columns(request, workspace.number_type)),
        waiting=read("waiting", waiting_columns(request)),
        earlier_units=read_earlier("earlier_units"),
        earlier_clusters=read_earlier("earlier_clusters"),
        settled_before=kept.settled_before,
    )


def write_unit_table(workspace: Workspace, table: UnitTable, folder: str) -> dict[str, tuple[str, ...]]:
    """Write what is to be kept, and give the names of the files by what they hold."""
    parts = {
        "units": table.units,
        "waiting": table.waiting,
        "earlier_units": table.earlier_units,
        "earlier_clusters": table.earlier_clusters,
    }
    return {name: workspace.write(part, folder, name) for name, part in parts.items() if part is not None}


def _list_files(location: str) -> Iterator[tuple[str, datetime]]:
    system, path = _open(location)
    with lake_answers():
        found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
    for info in found:
        if info.type == FileType.File:
            yield location + info.path.removeprefix(path), info.mtime.astimezone(UTC)


def _open(location: str) -> tuple[FileSystem, str]:
    scheme, netloc, path = PyArrowFileIO.parse_location(location)
    return DurableFileIO().fs_by_scheme(scheme, netloc), path
