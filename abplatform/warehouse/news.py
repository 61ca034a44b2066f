"""Which rows of a table have come since an earlier answer.

Every row has the number of the commit that brought it, and keeps it when files are compacted. Commits are numbered
without gaps, and only on top of each other. That all rows of then are still there is not believed but counted: whatever
is taken away (by retention, an erasure, the deletion of an experiment) leaves fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abplatform.domain.aggregates import Covered
from abplatform.warehouse.lake import LakeFile


class CannotResume(Exception):
    """An earlier answer is no beginning of this one: everything has to be read."""


class EarlierState(CannotResume):
    """The state that is asked about is older than what was kept, which is of use to others."""


@dataclass(frozen=True, slots=True)
class News:
    """What has to be read of a table.

    Attributes:
        files: all of the table, in the state that is asked about.
        since: what was read before; None if nothing was.
    """

    files: tuple[LakeFile, ...]
    since: Covered | None

    @property
    def new_files(self) -> Sequence[LakeFile]:
        """The files that hold rows of later commits, and perhaps rows of earlier ones."""
        return self.files if self.since is None else [file for file in self.files if self._is_new(file)]

    @property
    def mixed(self) -> bool:
        """Whether rows that were read before stand in new files."""
        if self.since is None:
            return False
        return sum(file.rows for file in self.files if not self._is_new(file)) != self.since.rows

    @property
    def covered(self) -> Covered:
        """What has been read once this has been."""
        return Covered(
            sequence_number=max((file.sequence_number for file in self.files), default=0),
            rows=sum(file.rows for file in self.files),
        )

    def check(self, new_rows: int) -> None:
        """Compare the number of rows of later commits with what it must be.

        Raises:
            CannotResume: if rows that were read before are gone, or are not yet there.
        """
        if self.since is not None and self.covered.sequence_number < self.since.sequence_number:
            raise EarlierState("what was kept is of a later state")
        if self.since is not None and self.covered.rows - new_rows != self.since.rows:
            raise CannotResume("rows that were counted are gone from the lake")

    def _is_new(self, file: LakeFile) -> bool:
        return self.since is not None and file.sequence_number > self.since.sequence_number
