"""Files of the lake that survive a power cut.

PyIceberg closes its files without ``fsync``. Sealing deletes events from the inbox once the lake has them, so the
lake's files must have reached the disk before a commit points at them: data, manifests and table metadata alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

_BUFFER = 1 << 20


class DurableFileIO(PyArrowFileIO):
    """PyIceberg's Arrow reader and writer, whose local files are on disk when they are closed."""

    def new_output(self, location: str) -> PyArrowFile:
        """A file to write; local ones are durable."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        kind = _DurableFile if scheme == "file" else PyArrowFile
        return kind(location=location, path=path, fs=self.fs_by_scheme(scheme, netloc), buffer_size=_BUFFER)


class _DurableFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        """Open the file for writing.

        Raises:
            FileExistsError: if it exists and ``overwrite`` is False.
        """
        path = Path(self._path)
        changed = _make_folders(path.parent)
        return _DurableStream(path, "wb" if overwrite else "xb", changed)


class _DurableStream:
    """A binary stream that reaches the disk, name included, before ``close`` returns."""

    def __init__(self, path: Path, mode: str, folders: list[Path]) -> None:
        self._folders = folders
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
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
        for folder in self._folders:
            _sync_folder(folder)

    def __enter__(self) -> _DurableStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_folders(folder: Path) -> list[Path]:
    # A new file's name lives in its folder, a new folder's name in the one above: all of them have to be synced.
    changed = [folder]
    while not changed[-1].exists():
        changed.append(changed[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
