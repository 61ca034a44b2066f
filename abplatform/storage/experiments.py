"""Experiments in the database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from abplatform.domain.checks import storable
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Status
from abplatform.errors import NotFound
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.pages import Page, read_page
from abplatform.storage.rows import insert_new, update_one
from abplatform.storage.schema import experiment as table

_STATE = ("status", "phase", "preregistered", "started_at", "stopped_at", "archived_at")
_FIXED = ("salt", "layer_salt", "created_at")


class Experiments:
    """The experiments of all projects, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, project: str, key: str) -> Experiment:
        """One experiment.

        Raises:
            NotFound: there is none of that key in the project.
        """
        found = self.find(project, key)
        if found is None:
            raise NotFound(f"there is no experiment {key!r}")
        return found

    def find(self, project: str, key: str) -> Experiment | None:
        """One experiment, or None."""
        # PostgreSQL refuses to compare with what it cannot store.
        if not storable(key):
            return None
        row = self._connection.execute(sa.select(table).where(_is(project, key))).one_or_none()
        return None if row is None else _build(row)

    def add(self, project: str, experiment: Experiment) -> None:
        """Add an experiment.

        Raises:
            AlreadyExists: the project has one of that key.
        """
        fixed = {name: getattr(experiment, name) for name in _FIXED}
        values = {"project": project, "key": experiment.key} | fixed | _changeable(experiment)
        insert_new(self._connection, table, values, name=f"experiment {experiment.key}")

    def save(self, project: str, experiment: Experiment, *, expected_revision: int) -> None:
        """Replace an experiment that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        is_expected = sa.and_(_is(project, experiment.key), table.c.revision == expected_revision)
        statement = sa.update(table).where(is_expected).values(_changeable(experiment))
        update_one(self._connection, statement, name=f"experiment {experiment.key}")

    def remove(self, project: str, key: str, *, expected_revision: int) -> None:
        """Delete an experiment that nobody has changed since it was read.

        Raises:
            PreconditionFailed: someone has.
        """
        is_expected = sa.and_(_is(project, key), table.c.revision == expected_revision)
        update_one(self._connection, sa.delete(table).where(is_expected), name=f"experiment {key}")

    def page(self, project: str, *, limit: int, cursor: str | None, status: Status | None = None) -> Page[Experiment]:
        """Some experiments of a project, newest first.

        Raises:
            InvalidInput: naming ``limit`` or ``cursor``.
        """
        wanted = table.c.project == project
        if status is not None:
            wanted = sa.and_(wanted, table.c.status == status)
        return read_page(self._connection, table, wanted, limit=limit, cursor=cursor, build=_build)

    def all(self, project: str) -> tuple[Experiment, ...]:
        """All experiments of a project, by key."""
        query = sa.select(table).where(table.c.project == project).order_by(table.c.key)
        return tuple(_build(row) for row in self._connection.execute(query))


def _is(project: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.project == project, table.c.key == key)


def _changeable(experiment: Experiment) -> dict[str, Any]:
    state = {name: getattr(experiment, name) for name in _STATE}
    return state | {"revision": experiment.revision, "definition": to_text(experiment.definition)}


def _build(row: Any) -> Experiment:
    state = {name: getattr(row, name) for name in (*_FIXED, *_STATE, "revision")}
    return Experiment(definition=from_text(row.definition, ExperimentDefinition), **state)
