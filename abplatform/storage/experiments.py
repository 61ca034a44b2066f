"""Experiments in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from abplatform.domain.experiment import (
    UNDER_WAY,
    DecisionRecord,
    Experiment,
    ExperimentDefinition,
    PastPhase,
    Status,
)
from abplatform.domain.slots import Ranges
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.pages import Page, read_page
from abplatform.storage.schema import experiment as table

_STATE = (
    "status",
    "phase",
    "phase_salt",
    "layer_salt",
    "preregistered",
    "shipped",
    "started_at",
    "phase_started_at",
    "closed_at",
    "stopped_at",
    "archived_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """The parts of an experiment's state that are lists: one JSON text, since nobody looks them up."""

    slots: Ranges = ()
    holdouts: tuple[str, ...] = ()
    forced: Mapping[str, str] = field(default_factory=dict)
    past_phases: tuple[PastPhase, ...] = ()
    decision: DecisionRecord | None = None
    past_decisions: tuple[DecisionRecord, ...] = ()


class Scheduled(NamedTuple):
    """An experiment whose results the worker looks at."""

    project: str
    key: str
    every: timedelta


class Experiments(Definitions[Experiment]):
    """The experiments of all projects, seen through one transaction."""

    table = table
    noun = "experiment"

    def page(self, project: str, *, limit: int, cursor: str | None, status: Status | None = None) -> Page[Experiment]:
        """Some experiments of a project, newest first: all, or those of one status.

        Raises:
            InvalidInput: naming ``limit`` or ``cursor``.
        """
        if status is None:
            return super().page(project, limit=limit, cursor=cursor)
        wanted = sa.and_(table.c.project == project, table.c.status == status)
        return read_page(self._connection, table, wanted, limit=limit, cursor=cursor, build=self._build)

    def statuses(self, project: str) -> Mapping[str, Status]:
        """The status of every experiment of a project, by key."""
        rows = self._connection.execute(sa.select(table.c.key, table.c.status).where(table.c.project == project))
        return {row.key: row.status for row in rows}

    def looked_at(self, project: str) -> Sequence[Experiment]:
        """All experiments of a project that may have looks and are not archived, by key."""
        wanted = sa.and_(table.c.project == project, table.c.status.not_in(("draft", "archived")))
        rows = self._connection.execute(sa.select(table).where(wanted).order_by(table.c.key))
        return tuple(map(self._build, rows))

    def scheduled(self) -> Sequence[Scheduled]:
        """Experiments of all projects that are under way and have a schedule, by project and key."""
        seconds = table.c.refresh_seconds
        query = sa.select(table.c.project, table.c.key, seconds).order_by(table.c.project, table.c.key)
        rows = self._connection.execute(query.where(seconds.is_not(None), table.c.status.in_(sorted(UNDER_WAY))))
        return tuple(Scheduled(row.project, row.key, timedelta(seconds=row.refresh_seconds)) for row in rows)

    def _build(self, row: Any) -> Experiment:
        records = from_text(row.records, _Records)
        seconds = row.refresh_seconds
        state = {name: getattr(row, name) for name in (*_STATE, "salt", "created_at", "revision")}
        state |= {name: getattr(records, name) for name in _Records.__dataclass_fields__}
        state["refresh_every"] = None if seconds is None else timedelta(seconds=seconds)
        return Experiment(definition=from_text(row.definition, ExperimentDefinition), **state)

    def _fixed(self, stored: Experiment) -> Mapping[str, Any]:
        return {"salt": stored.salt}

    def _changeable(self, stored: Experiment) -> Mapping[str, Any]:
        records = _Records(**{name: getattr(stored, name) for name in _Records.__dataclass_fields__})
        state = {name: getattr(stored, name) for name in _STATE}
        every = stored.refresh_every
        state["refresh_seconds"] = None if every is None else round(every.total_seconds())
        return state | {"definition": to_text(stored.definition), "records": to_text(records)}
