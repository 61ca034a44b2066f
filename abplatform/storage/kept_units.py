"""Where it is kept what looks knew of each unit: one entry for each phase of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from abplatform.domain.aggregates import KeptUnits
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.schema import kept_units as table


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEntry:
    """What was kept of a phase.

    Attributes:
        question: names what was asked, but for the time and the state of the lake.
        rows: how many events were read for it.
        units: where it is; None if it cannot be kept.
    """

    project: str
    experiment: str
    phase: int
    question: str
    rows: int
    units: KeptUnits | None


class KeptEntries:
    """The entries of all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, project: str, experiment: str, phase: int) -> KeptEntry | None:
        """The entry of a phase."""
        row = self._connection.execute(sa.select(table).where(_of(project, experiment, phase))).one_or_none()
        return None if row is None else _build(row)

    def of_project(self, project: str) -> Sequence[KeptEntry]:
        """All entries of a project, by experiment and phase."""
        query = sa.select(table).where(table.c.project == project).order_by(table.c.experiment, table.c.phase)
        return tuple(map(_build, self._connection.execute(query)))

    def put(self, entry: KeptEntry) -> None:
        """Write an entry in the place of the one of that phase, if there is one."""
        self.remove(entry.project, entry.experiment, entry.phase)
        values = {name: getattr(entry, name) for name in ("project", "experiment", "phase", "question", "rows")}
        values["units"] = None if entry.units is None else to_text(entry.units)
        self._connection.execute(sa.insert(table).values(values))

    def remove(self, project: str, experiment: str, phase: int) -> None:
        """Forget the entry of a phase; nothing happens if there is none."""
        self._connection.execute(sa.delete(table).where(_of(project, experiment, phase)))


def _of(project: str, experiment: str, phase: int) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.project == project, table.c.experiment == experiment, table.c.phase == phase)


def _build(row: Any) -> KeptEntry:
    question, units = row.question, None
    try:
        units = None if row.units is None else from_text(row.units, KeptUnits)
    except ValueError:
        question = ""  # Written by another release: it answers nothing, and is written anew.
    return KeptEntry(
        project=row.project,
        experiment=row.experiment,
        phase=row.phase,
        question=question,
        rows=row.rows,
        units=units,
    )
