"""A small file at the root of a lake: the sign of the database that last tended it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from pyarrow.fs import FileSystem, FileType

from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.durable_io import DurableFileIO, sync_folder
from abplatform.warehouse.lake import Lake

# Folders of projects have no dot in their names.
_NAME = "owner.json"


@dataclass(frozen=True, slots=True)
class Marker:
    """What the file says.

    Attributes:
        token: random; the database that wrote it knows it.
        shared: whether the lake was given to that database by its address, and was not simply beside it.
    """

    token: str
    shared: bool


def read_marker(lake: Lake) -> Marker | None:
    """The marker of a lake; None if there is none. What is no marker of ours is one of somebody else.

    Raises:
        FileNotFoundError: if the folder of the lake itself does not exist.
        Unavailable: if the storage does not answer.
    """
    with lake_answers():
        system, root = _open(lake)
        if lake.root.startswith("file:") and system.get_file_info(root).type != FileType.Directory:
            raise FileNotFoundError(f"the lake lies in {root}, which does not exist here; is it mounted?")
        try:
            with system.open_input_stream(f"{root}/{_NAME}") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
    try:
        found = json.loads(text)
        return Marker(str(found["token"]), bool(found["shared"]))
    except (ValueError, TypeError, KeyError):
        return Marker("", shared=True)


def write_marker(lake: Lake, marker: Marker) -> None:
    """Put a marker in the place of the one that is there; readers see the one or the other, whole.

    Raises:
        Unavailable: if the storage does not answer, or is full. The marker may or may not be there.
    """
    content = json.dumps(asdict(marker)).encode()
    with lake_answers():
        system, root = _open(lake)
        if not lake.root.startswith("file:"):
            with system.open_output_stream(f"{root}/{_NAME}") as stream:
                stream.write(content)
            return
        # Of each writer its own.
        draft = Path(root, f"{_NAME}.{secrets.token_hex(8)}")
        try:
            with DurableFileIO().new_output(draft.as_posix()).create() as output:
                output.write(content)
            draft.replace(draft.with_name(_NAME))
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(draft.parent)


def _open(lake: Lake) -> tuple[FileSystem, str]:
    scheme, host, path = DurableFileIO.parse_location(lake.root)
    return DurableFileIO().fs_by_scheme(scheme, host), path
