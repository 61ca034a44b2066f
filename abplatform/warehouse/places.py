"""A lake that was moved: its tables go on naming their files by where the lake was when they were made.

Iceberg's names of files are absolute. A table lies in ``ROOT/PROJECT/TABLE``, so that its own name tells under which
root it was made. Where the lake has another root now, names keep the old one, in the catalog, the manifests and
whatever else compares them, and files are looked for, written and removed below the present one. Nothing outside of it
is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from abplatform.errors import Conflict

_WRITTEN_ROOT = "abplatform.written-root"
_PRESENT_ROOT = "abplatform.present-root"


def describe_move(metadata_location: str, identifier: Sequence[str], root: str) -> dict[str, str]:
    """Properties that tell `find_place` where the files of a table are; none if the lake has not been moved.

    Args:
        metadata_location: name of a metadata file of the table.
        identifier: project, and name of the table.
        root: of the lake now.

    Raises:
        Conflict: if the table does not lie where a lake has it.
    """
    folder = metadata_location.rpartition("/")[0]
    tail = "/".join(("", *identifier, "metadata"))
    if not folder.endswith(tail):
        raise Conflict(
            f"the table {'.'.join(identifier)} is said to lie in {folder.removesuffix('/metadata')}, which is no place "
            f"of a lake: there a table lies in ROOT/PROJECT/TABLE. It is left alone"
        )
    written = folder.removesuffix(tail)
    return {} if written == root else {_WRITTEN_ROOT: written, _PRESENT_ROOT: root}


def find_place(location: str, properties: Mapping[str, str]) -> str:
    """Where a file is now.

    Args:
        location: its name.
        properties: what `describe_move` gave, among others.

    Raises:
        Conflict: if it lies outside of the lake that was moved: nobody knows where it is now.
    """
    written = properties.get(_WRITTEN_ROOT)
    if written is None:
        return location
    if not location.startswith(f"{written}/"):
        raise Conflict(f"the lake was moved from {written}, and {location} lies outside of it; it is left alone")
    return properties[_PRESENT_ROOT] + location.removeprefix(written)
