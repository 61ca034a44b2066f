"""Reads the journal that `disk.c` writes, and does to a tree what it says."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.chaos.server.surviving import Bytes, Content, Mark, Name, Tree, read_tree

_HEAD = struct.Struct("=cHxIqqq")


class UnknownWrite(Exception):
    """A process changed a file in a way that the journal does not follow."""


class Entry(NamedTuple):
    """What a process did; see `disk.c`."""

    what: str
    inode: int
    position: int
    token: int
    name: str
    data: bytes


def read_entries(journal: Path) -> Iterator[Entry]:
    """What was done, in order."""
    with journal.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            what, letters, length, inode, position, token = _HEAD.unpack(head)
            name, data = file.read(letters), file.read(length)
            if len(name) + len(data) == letters + length:
                # Else the process was killed while it wrote its last entry.
                yield Entry(what.decode(), inode, position, token, os.fsdecode(name), data)


class Replay:
    """A tree to which the journal is done.

    Args:
        root: a folder that is wholly on the disk now.
    """

    def __init__(self, root: Path) -> None:
        self.tree, self._inodes = read_tree(root)
        self._begun: dict[int, tuple[Content | None, Mark]] = {}

    def follow(self, journal: Path) -> Tree:
        """Do all of it.

        Raises:
            UnknownWrite: if a process wrote in a way that the journal does not follow.
        """
        steps = {
            "O": self._open,
            "W": self._write,
            "T": self._write,
            "R": self._move,
            "L": self._link,
            "M": self._make_folder,
            "U": self._remove,
            "B": self._begin_sync,
            "S": self._end_sync,
            "E": self._fail_sync,
        }
        for entry in read_entries(journal):
            if entry.what not in steps:
                raise UnknownWrite(f"{entry.name} was written in a way that the journal does not follow")
            steps[entry.what](entry)
        return self.tree

    def _open(self, entry: Entry) -> None:
        content = self.tree.seen.get(entry.name)
        if content is None:
            content = self._inodes[entry.inode] = Content()
            self.tree.rename(Name(entry.name, content))
        elif entry.position:
            content.changes.waiting.append(Bytes(0, None))

    def _write(self, entry: Entry) -> None:
        data = entry.data if entry.what == "W" else None
        if entry.inode not in self._inodes:
            raise UnknownWrite(f"{entry.name} was written, and nobody is known to have made it")
        self._inodes[entry.inode].changes.waiting.append(Bytes(entry.position, data))

    def _move(self, entry: Entry) -> None:
        content, target = self.tree.seen[entry.name], os.fsdecode(entry.data)
        if content is None:
            raise UnknownWrite(f"the folder {entry.name} was renamed")
        if Path(entry.name).parent != Path(target).parent:
            raise UnknownWrite(f"{entry.name} was moved to another folder")
        self.tree.rename(Name(target, content, moved_from=entry.name))

    def _link(self, entry: Entry) -> None:
        self.tree.rename(Name(os.fsdecode(entry.data), self.tree.seen[entry.name]))

    def _make_folder(self, entry: Entry) -> None:
        self.tree.rename(Name(entry.name))

    def _remove(self, entry: Entry) -> None:
        self.tree.rename(Name(entry.name, gone=True))

    def _begin_sync(self, entry: Entry) -> None:
        content = None if self.tree.is_folder(entry.name) else self._inodes[entry.inode]
        changes = self.tree.names_in(entry.name) if content is None else content.changes
        self._begun[entry.token] = content, changes.mark()

    def _end_sync(self, entry: Entry) -> None:
        content, mark = self._begun.pop(entry.token)
        if content is None:
            self.tree.sync(entry.name, mark)
        else:
            content.sync(mark)

    def _fail_sync(self, entry: Entry) -> None:
        if not self.tree.is_folder(entry.name):
            self._inodes[entry.inode].changes.fail()
