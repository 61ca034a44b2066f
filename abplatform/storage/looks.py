"""Looks: scorecards that are written once and never changed."""

from __future__ import annotations

import sqlalchemy as sa

from abplatform.domain.scorecard import Scorecard
from abplatform.errors import AlreadyExists, NotFound
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.schema import experiment, look


class Looks:
    """The looks of all experiments, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, project: str, experiment_key: str, phase: int, scorecard: Scorecard, fingerprint: str) -> None:
        """Write the next look of a phase.

        Args:
            project: key of the project.
            experiment_key: key of the experiment.
            phase: whose look it is.
            scorecard: what was found; its ``look`` is the number that it takes.
            fingerprint: names the data and the plan that the scorecard came from.

        Raises:
            NotFound: there is no such experiment.
            AlreadyExists: another look has taken that number; this one does not build on it.
        """
        self._lock(project, experiment_key)
        latest = self._connection.execute(_newest(project, experiment_key, phase)).one_or_none()
        number = 1 if latest is None else latest.number + 1
        if scorecard.look != number:
            raise AlreadyExists(f"{experiment_key} has a look {scorecard.look} of phase {phase} already")
        values = {
            "project": project,
            "experiment": experiment_key,
            "phase": phase,
            "number": number,
            "computed_at": scorecard.computed_at,
            "fingerprint": fingerprint,
            "scorecard": to_text(scorecard),
        }
        self._connection.execute(sa.insert(look).values(values))

    def latest(self, project: str, key: str, phase: int) -> tuple[Scorecard, str] | None:
        """The newest look of a phase and its fingerprint; None before the first."""
        row = self._connection.execute(_newest(project, key, phase)).one_or_none()
        return None if row is None else (from_text(row.scorecard, Scorecard), row.fingerprint)

    def history(self, project: str, key: str, phase: int) -> tuple[Scorecard, ...]:
        """All looks of a phase, oldest first."""
        query = sa.select(look.c.scorecard).where(_of(project, key, phase)).order_by(look.c.number)
        return tuple(from_text(text, Scorecard) for text in self._connection.scalars(query))

    def _lock(self, project: str, key: str) -> None:
        wanted = sa.and_(experiment.c.project == project, experiment.c.key == key)
        if self._connection.scalar(sa.select(experiment.c.key).where(wanted).with_for_update(key_share=True)) is None:
            raise NotFound(f"there is no experiment {key!r}")


def _of(project: str, key: str, phase: int) -> sa.ColumnElement[bool]:
    return sa.and_(look.c.project == project, look.c.experiment == key, look.c.phase == phase)


def _newest(project: str, key: str, phase: int) -> sa.Select[tuple[object, ...]]:
    return sa.select(look).where(_of(project, key, phase)).order_by(look.c.number.desc()).limit(1)
