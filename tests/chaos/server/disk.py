"""A disk under the platform's processes that can be told to fail, and that writes down what reached it."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.server.journal import Replay

SOURCE = Path(__file__).with_name("disk.c")
SWITCHES = ("sync_fails", "full", "wal_not_synced")
HOW_TO_INSTALL = "a C compiler is missing; install one (Debian: apt-get install gcc libc6-dev)"


class NoCompiler(Exception):
    """The disk cannot be built here."""


class Disk:
    """Everything below one folder, as seen by the processes that are started with `environment`.

    Args:
        root: the folder; exists.
        library: what `build` made.
    """

    def __init__(self, root: Path, library: Path) -> None:
        self._root, self._library = root, library
        self._own = Path(tempfile.mkdtemp(prefix="abplatform-disk-"))
        self._journal, control = self._own / "journal", self._own / "switches"
        control.write_bytes(bytes(4 * len(SWITCHES)))
        with control.open("r+b") as file:
            self._switches = mmap.mmap(file.fileno(), 0)
        self._replay = self._start_anew()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that put a process on this disk."""
        return {
            "LD_PRELOAD": str(self._library),
            "CHAOS_ROOT": str(self._root),
            "CHAOS_JOURNAL": str(self._journal),
            "CHAOS_CONTROL": str(self._own / "switches"),
        }

    def switch(self, name: str, on: bool) -> None:
        """Throw a switch: ``sync_fails`` (EIO), ``full`` (ENOSPC), ``wal_not_synced`` (SQLite's log is not synced)."""
        self._switches[4 * SWITCHES.index(name) : 4 * SWITCHES.index(name) + 4] = struct.pack("=i", on)

    def settle(self) -> None:
        """Take all that is there as safely on the disk; no process may be running."""
        self._replay = self._start_anew()

    def cut_power(self, *, torn: int | None = None) -> None:
        """Leave only what a power cut leaves (see `surviving`); all processes must have been killed.

        Args:
            torn: a seed: any part of what was not synced survives too; else nothing of it.

        Raises:
            UnknownWrite: if a process wrote in a way that the journal does not follow.
        """
        tree = self._replay.follow(self._journal)
        shutil.rmtree(self._root)
        tree.write_survivors(torn=torn)
        self.settle()

    def unexplained(self) -> list[str]:
        """Files that differ from what the journal says was written; all processes must have ended by themselves."""
        found = self._replay.follow(self._journal).differences()
        self.settle()
        return found

    def close(self) -> None:
        """Remove the journal."""
        self._switches.close()
        shutil.rmtree(self._own)

    def _start_anew(self) -> Replay:
        self._journal.write_bytes(b"")
        return Replay(self._root)


def find_compiler() -> str:
    """Path of a C compiler.

    Raises:
        NoCompiler: if there is none.
    """
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    raise NoCompiler(HOW_TO_INSTALL)


@contextmanager
def a_disk(root: Path) -> Iterator[Disk]:
    """A disk under a folder, whose library is built first.

    Raises:
        NoCompiler: if there is none.
    """
    compiler = find_compiler()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="abplatform-disk-") as folder:
        library = Path(folder) / "disk.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        disk = Disk(root, library)
        try:
            yield disk
        finally:
            disk.close()
