"""Folders for what a process needs only while it runs.

A process that is killed cannot remove its own. Each folder has a lock beside it, which the kernel frees with the
process, whatever ends it: the next process finds the lock free, and removes both. The number of a process would not do:
it is used again, and means nothing in another container.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

_PREFIX = "abplatform-"
_SUFFIX = ".lock"

log = logging.getLogger(__name__)


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A folder that goes when it is closed or, after a kill, when the next process makes one at the same place.

    Args:
        purpose: a word for its name.
        parent: where it is made; by default the system's folder for temporary files.
    """

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        place = Path(tempfile.gettempdir()) if parent is None else parent
        _remove_leftovers_once(place)
        super().__init__(prefix=f"{_PREFIX}{purpose}-", dir=place, ignore_cleanup_errors=True)
        self._lock = Path(f"{self.name}{_SUFFIX}")
        self._descriptor = _lock_new(self._lock)

    def cleanup(self) -> None:
        """Remove it with all that is in it; once is enough."""
        super().cleanup()
        if self._descriptor is not None:
            self._lock.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def remove_leftovers(parent: Path) -> int:
    """Remove the folders of processes that are gone; returns how many. Those of other users are left alone."""
    return sum(_remove_if_free(lock) for lock in parent.glob(f"{_PREFIX}*{_SUFFIX}"))


@cache
def _remove_leftovers_once(parent: Path) -> None:
    removed = remove_leftovers(parent)
    if removed:
        log.info("removed %d temporary folders of processes that were killed", removed)


def _lock_new(lock: Path) -> int | None:
    # It gets its name when it is locked: nobody may find it free before.
    descriptor, unnamed = tempfile.mkstemp(dir=lock.parent)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    Path(unnamed).rename(lock)
    return descriptor


def _remove_if_free(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False  # Somebody else's, or gone by now.
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # Its process lives.
    else:
        # The lock last: what a kill leaves in between is found again.
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
