"""Files of the lake that should be there and are not: damage, or storage that is not mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow.fs import FileType
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from abplatform.errors import Unavailable
from abplatform.warehouse.places import find_place


class TableLost(FileNotFoundError):
    """A table cannot be opened, since what says which files it has is not there.

    Attributes:
        location: of what is not there.
        problem: what is wrong with it, as the rest of a sentence.
    """

    def __init__(self, location: str, problem: str) -> None:
        super().__init__(f"{location} {problem}")
        self.location = location
        self.problem = problem


def find_loss(io: FileIO, metadata_location: str, error: Exception) -> TableLost:
    """Tell what is not there of a table whose metadata could not be read.

    Args:
        io: reads the table.
        metadata_location: name of its metadata file.
        error: why that could not be read.
    """
    place = find_place(metadata_location, io.properties)
    if not isinstance(error, FileNotFoundError):
        return TableLost(place, f"cannot be read: {' '.join(str(error).split())}")
    folder = place.rpartition("/metadata/")[0]
    scheme, host, path = PyArrowFileIO.parse_location(folder)
    if io.fs_by_scheme(scheme, host).get_file_info(path).type == FileType.NotFound:  # type: ignore[attr-defined]
        return TableLost(folder, "holds the table, and does not exist here; is it mounted?")
    return TableLost(place, "is missing")


@contextmanager
def files_are_there() -> Iterator[None]:
    """Speak of a lake that lacks files as of one that does not answer, for who can do nothing about it.

    Raises:
        Unavailable: instead of FileNotFoundError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Unavailable(
            "files of the lake are missing; if its storage is mounted, abplatform lake verify names them"
        ) from error
