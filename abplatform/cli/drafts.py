"""Files that get their name when they are whole, and of which a process that is killed leaves nothing, or a draft."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(output: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends, and takes the place of another one; nothing if it raises.

    Until then it has no name, where the system can do that: then nothing is left behind by a kill. Elsewhere it is a
    draft with a dot before its name, locked by its process, which the next call for the same file removes.

    Whoever may read the other file may read this one, and nobody else. A pipe or a device is written to as it is.
    """
    if output.exists() and not output.is_file():
        with output.open("wb") as stream:
            yield stream
        return
    _remove_abandoned(output)
    draft = output.with_name(f".{output.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        unnamed = _open_unnamed(output.parent)
        with unnamed or _open_locked(draft) as stream:
            with suppress(FileNotFoundError):
                os.fchmod(stream.fileno(), stat.S_IMODE(output.stat().st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # else a power cut could leave the name, with nothing behind it
            if unnamed is not None:
                _name(unnamed, draft)
            draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


def _open_unnamed(parent: Path) -> BinaryIO | None:
    """A locked file without a name; None where the system, or that disk, has no such thing."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:
        return None  # what else is wrong shows where a file with a name is opened
    if not _place(descriptor).exists():
        os.close(descriptor)
        return None
    stream = os.fdopen(descriptor, "wb")
    _lock(stream)
    return stream


def _name(stream: BinaryIO, draft: Path) -> None:
    parent = os.open(draft.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # Python follows the link to the file only where it is told in which folder the name is to be.
        os.link(_place(stream.fileno()), draft.name, dst_dir_fd=parent)
    finally:
        os.close(parent)


def _place(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")


def _open_locked(draft: Path) -> BinaryIO:
    stream = draft.open("xb")
    _lock(stream)
    if os.fstat(stream.fileno()).st_nlink:
        return stream
    # Whoever looked at it before it was locked took it for one that nobody holds, and removed it.
    stream.close()
    return _open_locked(draft)


def _lock(stream: BinaryIO) -> None:
    with suppress(OSError):  # a disk without locks: its drafts are never found free
        fcntl.flock(stream, fcntl.LOCK_EX)


def _remove_abandoned(output: Path) -> None:
    name = re.compile(rf"\.{re.escape(output.name)}\.\d+\.[0-9a-f]{{8}}")
    with suppress(OSError):  # a folder that cannot be listed
        for path in output.parent.iterdir():
            if name.fullmatch(path.name):
                _remove_if_free(path)


def _remove_if_free(draft: Path) -> None:
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # somebody else's, or gone by now
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.unlink(missing_ok=True)
    except OSError:
        return  # its process lives, or it may not be removed
    finally:
        os.close(descriptor)
