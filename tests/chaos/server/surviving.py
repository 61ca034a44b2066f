"""What of a folder survives a power cut.

A file's bytes survive once an fsync that began after they were written has succeeded; bytes that an fsync failed on
are not saved by a later one (Linux drops them: only writing them again helps). A name, and the end of a name, survive
once its folder was synced. Of all else a cut may leave nothing, or any part: sectors of 512 bytes in any choice, and
the first few of a folder's changes. Both are tried.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

SECTOR = 512
# SQLite's shared memory, which outlives no process.
VOLATILE = "-shm"

Step = TypeVar("Step")


class Bytes(NamedTuple):
    """Bytes written at a position of a file; None: the file ends there."""

    position: int
    data: bytes | None


class Mark(NamedTuple):
    """Up to where a sync reaches that begins now, and from where on."""

    end: int
    lost: int


class Changes(Generic[Step]):
    """What was asked of a file, or of the names in a folder, and is not on the disk for sure."""

    def __init__(self) -> None:
        self.waiting: list[Step] = []
        self._settled = self._lost = 0

    def mark(self) -> Mark:
        """Where a sync begins."""
        return Mark(self._settled + len(self.waiting), self._lost)

    def sync(self, mark: Mark) -> Iterator[Step]:
        """A sync that began at the mark has succeeded: what it brought to the disk."""
        count = max(0, mark.end - self._settled)
        first, begin = self.waiting[:count], self._settled
        del self.waiting[:count]
        self._settled += count
        return (step for number, step in enumerate(first, begin) if number >= mark.lost)

    def fail(self) -> None:
        """A sync failed: what waits is dropped by the system some time, and never written."""
        self._lost = self._settled + len(self.waiting)


class Content:
    """One file."""

    def __init__(self, safe: bytes = b"") -> None:
        self.changes: Changes[Bytes] = Changes()
        self._safe = bytearray(safe)

    def sync(self, mark: Mark) -> None:
        """An fsync that began at the mark has succeeded."""
        for change in self.changes.sync(mark):
            _apply(self._safe, change)

    def seen(self) -> bytes:
        """What processes read."""
        return self._with(self.changes.waiting)

    def survivors(self, chance: random.Random | None) -> bytes:
        """What a power cut leaves: nothing that waits, or with a chance any part of it."""
        return bytes(self._safe) if chance is None else self._with(_tear(self.changes.waiting, chance))

    def _with(self, changes: Iterable[Bytes]) -> bytes:
        content = bytearray(self._safe)
        for change in changes:
            _apply(content, change)
        return bytes(content)


class Name(NamedTuple):
    """A path that comes to be (a file's content; None: a folder), or that ends.

    Attributes:
        moved_from: the path that ends at the same moment: renaming is one step.
    """

    path: str
    content: Content | None = None
    gone: bool = False
    moved_from: str = ""


Names = dict[str, Content | None]


@dataclass
class Tree:
    """All below one folder.

    Attributes:
        root: its path.
        safe: names that are on the disk.
        seen: names that processes see.
        changes: of names, by folder.
    """

    root: Path
    safe: Names = field(default_factory=dict)
    seen: Names = field(default_factory=dict)
    changes: dict[str, Changes[Name]] = field(default_factory=dict)

    def is_folder(self, path: str) -> bool:
        """Whether processes see a folder there."""
        return path == str(self.root) or (path in self.seen and self.seen[path] is None)

    def names_in(self, folder: str) -> Changes[Name]:
        """What was asked of the names in a folder."""
        return self.changes.setdefault(folder, Changes())

    def rename(self, change: Name) -> None:
        """A process made or removed a name."""
        self.names_in(str(Path(change.path).parent)).waiting.append(change)
        _rename(self.seen, change)

    def sync(self, folder: str, mark: Mark) -> None:
        """An fsync of a folder that began at the mark has succeeded."""
        for change in self.names_in(folder).sync(mark):
            _rename(self.safe, change)

    def write_survivors(self, *, torn: int | None) -> None:
        """Make the folder, which must be gone, of what a power cut leaves.

        Args:
            torn: a seed: any part of what was not synced survives too.
        """
        chance = None if torn is None else random.Random(torn)
        names = self._surviving_names(chance)
        self.root.mkdir()
        for path in sorted(names):
            content = names[path]
            if not Path(path).parent.is_dir():
                continue  # The folder itself was lost.
            if content is None:
                Path(path).mkdir()
            else:
                Path(path).touch(mode=0o600)
                Path(path).write_bytes(content.survivors(chance))

    def differences(self) -> list[str]:
        """Paths whose content, or absence, is not what processes were seen to ask for."""
        found = {str(path) for path in _all_below(self.root)}
        both = found & set(self.seen)
        return sorted(found ^ set(self.seen)) + sorted(path for path in both if not self._is_as_seen(Path(path)))

    def _is_as_seen(self, path: Path) -> bool:
        content = self.seen[str(path)]
        return path.is_dir() if content is None else path.is_file() and content.seen() == path.read_bytes()

    def _surviving_names(self, chance: random.Random | None) -> Names:
        names = dict(self.safe)
        if chance is None:
            return names
        for changes in self.changes.values():
            for change in changes.waiting[: chance.randint(0, len(changes.waiting))]:
                _rename(names, change)
        return names


def read_tree(root: Path) -> tuple[Tree, dict[int, Content]]:
    """A folder that is wholly on the disk, and its files by inode."""
    tree, inodes = Tree(root), {}
    for path in _all_below(root):
        tree.safe[str(path)] = None
        if not path.is_dir():
            tree.safe[str(path)] = inodes[path.stat().st_ino] = Content(path.read_bytes())
    tree.seen = dict(tree.safe)
    return tree, inodes


def _all_below(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if not path.name.endswith(VOLATILE))


def _rename(names: Names, change: Name) -> None:
    names.pop(change.moved_from, None)
    if change.gone:
        names.pop(change.path, None)
    else:
        names[change.path] = change.content


def _apply(content: bytearray, change: Bytes) -> None:
    end = change.position + len(change.data or b"")
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.data is None:
        del content[end:]
    else:
        content[change.position : end] = change.data


def _tear(changes: Iterable[Bytes], chance: random.Random) -> Iterator[Bytes]:
    for position, data in changes:
        kept = chance.choice((0.0, 0.5, 1.0))
        if data is None:
            if chance.random() < kept:
                yield Bytes(position, None)
            continue
        edges = [0, *range(SECTOR - position % SECTOR, len(data), SECTOR), len(data)]
        for start, end in pairwise(edges):
            if chance.random() < kept:
                yield Bytes(position + start, data[start:end])
