"""Files of the lake that survive a power cut.

PyIceberg closes its files without ``fsync``. Sealing deletes events from the inbox once the lake has them, so the
lake's files must have reached the disk before a commit points at them: data, manifests and table metadata alike.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from pyarrow.fs import FileSystem
from pyiceberg.io import FileIO, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from abplatform.warehouse.object_store import open_object_store
from abplatform.warehouse.places import find_place

_BUFFER = 1 << 20
# For what is being written when all is taken back.
_PATIENCE = 10.0

log = logging.getLogger(__name__)


class DurableFileIO(PyArrowFileIO):
    """PyIceberg's Arrow reader and writer, whose local files are on disk when they are closed.

    Object storage needs no more: an object is there, whole and durable, once its upload has been answered. Files keep
    their names where the lake was moved (`places`).
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        self._outputs: list[str] = []
        self._open = 0
        self._is_taken_back = False
        self._change = threading.Condition()

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """Scheme, host and path of the place where a file is now."""
        return PyArrowFileIO.parse_location(find_place(location, properties), properties)

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        # PyIceberg would make a client, with connections of its own, for every table that is loaded.
        return open_object_store() if scheme == "s3" else super()._initialize_fs(scheme, netloc)

    def new_output(self, location: str) -> PyArrowFile:
        """A file to write; local ones are durable."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        system = self.fs_by_scheme(scheme, netloc)
        if scheme == "file":
            file: PyArrowFile = _DurableFile(self, location, path, system)
        else:
            file = PyArrowFile(location=location, path=path, fs=system, buffer_size=_BUFFER)
        with self._change:
            self._check()
            self._outputs.append(location)
        return file

    def take_back(self) -> None:
        """Delete all files that were written through this, whole or in part: nobody knows their names.

        Nothing can be written through it afterwards. PyIceberg writes some files at once, and gives up at the first
        that fails: the others are waited for.
        """
        with self._change:
            self._is_taken_back = True
            self._change.wait_for(lambda: not self._open, timeout=_PATIENCE)
        for location in self._outputs:
            delete_quietly(self, location)

    def begin_file(self) -> None:
        """A local file is about to be made.

        Raises:
            OSError: if all has been taken back.
        """
        with self._change:
            self._check()
            self._open += 1

    def end_file(self) -> None:
        """It has been closed, or could not be made."""
        with self._change:
            self._open -= 1
            self._change.notify_all()

    def _check(self) -> None:
        if self._is_taken_back:
            raise OSError("what was written has been taken back")


def delete_quietly(io: FileIO, location: str) -> None:
    """Delete a file that nobody knows of, if it is there. Where that fails it is an orphan, which goes some day."""
    try:
        io.delete(location)
    except FileNotFoundError:
        return
    except OSError:
        log.warning("could not delete %s", location, exc_info=True)


class _DurableFile(PyArrowFile):
    def __init__(self, io: DurableFileIO, location: str, path: str, system: FileSystem) -> None:
        super().__init__(location=location, path=path, fs=system, buffer_size=_BUFFER)
        self._io = io

    def create(self, overwrite: bool = False) -> OutputStream:
        """Open the file for writing.

        Raises:
            FileExistsError: if it exists and ``overwrite`` is False.
        """
        path = Path(self._path)
        self._io.begin_file()
        try:
            make_folder(path.parent)
            return _DurableStream(path, "wb" if overwrite else "xb", self._io.end_file)
        except BaseException:
            self._io.end_file()
            raise


class _DurableStream:
    """A binary stream that reaches the disk, name included, before ``close`` returns."""

    def __init__(self, path: Path, mode: str, ended: Callable[[], None]) -> None:
        self._folder = path.parent
        self._ended = ended
        self._file = path.open(mode, buffering=_BUFFER)

    @property
    def closed(self) -> bool:
        return self._file.closed

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._file.tell()

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()
            sync_folder(self._folder)
        finally:
            self._ended()

    def __enter__(self) -> _DurableStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut: its name and those of all folders above it are on disk.

    A folder that is there may have been made a moment ago, by this process or another, and its name may not have
    reached the disk. Only names that this process has brought there itself are trusted.
    """
    folder = folder.absolute()
    if folder in _on_disk and folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, *folder.parents):
        try:
            sync_folder(each.parent)  # which holds the name
        except PermissionError:
            break  # whoever owns it made the folder in it
        _on_disk.add(each)
        if each.parent in _on_disk:
            break


def sync_folder(folder: Path) -> None:
    """Bring the names that a folder holds to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_on_disk: set[Path] = set()
