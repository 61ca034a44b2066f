"""Looks: scorecards that are written once and never changed, and what each was computed from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from abplatform.domain.aggregates import Aggregation, AggregationRequest, LakeState
from abplatform.domain.evidence import Evidence, make_cut_off
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import AlreadyExists, NotFound
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.schema import experiment, look


class Look(NamedTuple):
    """A look as it is kept.

    Attributes:
        scorecard: what was found.
        fingerprint: names the data and the plan that it came from.
        evidence: what it was computed from; None in looks from before that was kept.
    """

    scorecard: Scorecard
    fingerprint: str
    evidence: Evidence | None


class Looks:
    """The looks of all experiments, seen through one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, project: str, experiment_key: str, phase: int, new: Look) -> None:
        """Write the next look of a phase.

        Args:
            project: key of the project.
            experiment_key: key of the experiment.
            phase: whose look it is.
            new: its scorecard has the number that it takes; that one's cut-off is the evidence's.

        Raises:
            NotFound: there is no such experiment.
            AlreadyExists: another look has taken that number; this one does not build on it.
        """
        self._lock(project, experiment_key)
        number = (self.latest_number(project, experiment_key, phase) or 0) + 1
        if new.scorecard.look != number:
            raise AlreadyExists(f"{experiment_key} has a look {new.scorecard.look} of phase {phase} already")
        values = {
            "project": project,
            "experiment": experiment_key,
            "phase": phase,
            "number": number,
            "computed_at": new.scorecard.computed_at,
            "fingerprint": new.fingerprint,
            "scorecard": to_text(replace(new.scorecard, cut_off=None)),
        }
        evidence = {} if new.evidence is None else _describe(new.evidence)
        self._connection.execute(sa.insert(look).values(values | evidence))

    def latest(self, project: str, key: str, phase: int) -> Look | None:
        """The newest look of a phase; None before the first."""
        query = sa.select(look).where(_of(project, key, phase)).order_by(look.c.number.desc()).limit(1)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _build(row)

    def latest_number(self, project: str, key: str, phase: int) -> int | None:
        """Number of the newest look of a phase; None before the first."""
        query = sa.select(sa.func.max(look.c.number)).where(_of(project, key, phase))
        number: int | None = self._connection.scalar(query)
        return number

    def get(self, project: str, key: str, phase: int, number: int) -> Look:
        """One look.

        Raises:
            NotFound: the phase has had no look of that number.
        """
        row = self._connection.execute(sa.select(look).where(_one(project, key, phase, number))).one_or_none()
        if row is None:
            latest = self.latest_number(project, key, phase)
            had = "has had no look" if latest is None else f"has had the looks 1 to {latest}"
            raise NotFound(f"{key} {had} in phase {phase}; there is no look {number}")
        return _build(row)

    def state(self, project: str, key: str, phase: int, number: int) -> LakeState | None:
        """The state of the lake that a look was computed from; of neither table where that is unknown."""
        columns = (look.c.exposures_state, look.c.conversions_state)
        row = self._connection.execute(sa.select(*columns).where(_one(project, key, phase, number))).one_or_none()
        return None if row is None else _state(row)

    def history(self, project: str, key: str, phase: int) -> tuple[Scorecard, ...]:
        """All looks of a phase, oldest first."""
        columns = (look.c.scorecard, look.c.exposures_state, look.c.conversions_state)
        query = sa.select(*columns, look.c.as_of, look.c.engine, look.c.version)
        rows = self._connection.execute(query.where(_of(project, key, phase)).order_by(look.c.number))
        return tuple(map(_scorecard, rows))

    def _lock(self, project: str, key: str) -> None:
        wanted = sa.and_(experiment.c.project == project, experiment.c.key == key)
        if self._connection.scalar(sa.select(experiment.c.key).where(wanted).with_for_update(key_share=True)) is None:
            raise NotFound(f"there is no experiment {key!r}")


def _of(project: str, key: str, phase: int) -> sa.ColumnElement[bool]:
    return sa.and_(look.c.project == project, look.c.experiment == key, look.c.phase == phase)


def _one(project: str, key: str, phase: int, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(_of(project, key, phase), look.c.number == number)


def _describe(evidence: Evidence) -> dict[str, object]:
    state = evidence.request.state
    return {
        "exposures_state": None if state is None else state.exposures,
        "conversions_state": None if state is None else state.conversions,
        "as_of": evidence.request.as_of,
        "engine": evidence.engine,
        "version": evidence.version,
        "request": to_text(evidence.request),
        "aggregation": to_text(evidence.aggregation),
    }


def _build(row: Any) -> Look:
    evidence = None
    if row.request is not None:
        evidence = Evidence(
            request=from_text(row.request, AggregationRequest),
            aggregation=from_text(row.aggregation, Aggregation),
            engine=row.engine,
            version=row.version,
        )
    return Look(_scorecard(row), row.fingerprint, evidence)


def _scorecard(row: Any) -> Scorecard:
    found = from_text(row.scorecard, Scorecard)
    if row.as_of is None:
        return found
    cut_off = make_cut_off(_state(row), as_of=row.as_of, engine=row.engine, version=row.version)
    return replace(found, cut_off=cut_off)


def _state(row: Any) -> LakeState:
    return LakeState(exposures=row.exposures_state, conversions=row.conversions_state)
