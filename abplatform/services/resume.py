"""Answer from what an earlier look knew of each unit, and from all events where that is not possible."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from abplatform import __version__
from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.errors import SnapshotExpired, Unavailable
from abplatform.storage.documents import to_text
from abplatform.storage.kept_units import KeptEntry
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.news import EarlierState
from abplatform.warehouse.unit_files import find_units, remove_files

log = structlog.get_logger(__name__)


class ResumingEngine:
    """An engine whose answers go on from what was kept of each unit, where something was.

    Args:
        engine: computes.
        uow: where it is written what is kept.
    """

    def __init__(self, engine: Engine, uow: UnitOfWork) -> None:
        self._engine = engine
        self._uow = uow

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        return self._engine.version

    def aggregate(self, lake: Lake, request: AggregationRequest) -> Aggregation:
        """See `engines.Engine`.

        What is kept is a help, and never a reason to fail: whatever is wrong with it, all events are read, and it is
        thrown away, so that the worker keeps something better.
        """
        entry = self._find(request)
        if entry is None or entry.units is None:
            return self._engine.aggregate(lake, request)
        try:
            return self._engine.aggregate(lake, request, find_units(lake, request.project, entry.units))
        except SnapshotExpired:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with what was kept, the events are there
            log.warning("read_all_events", experiment=request.experiment, reason=str(error))
            answer = self._engine.aggregate(lake, request)
            if not isinstance(error, EarlierState):
                forget(self._uow, lake, entry)
            return answer

    def _find(self, request: AggregationRequest) -> KeptEntry | None:
        with self._uow.reading() as work:
            entry = work.kept_units.find(request.project, request.experiment, request.phase)
        return entry if entry is not None and entry.question == name_question(request, self.version) else None


def forget(uow: UnitOfWork, lake: Lake, entry: KeptEntry) -> None:
    """Throw away what is kept, unless something better has come in its place. What cannot go now stays."""
    try:
        with uow.begin() as work:
            if work.kept_units.find(entry.project, entry.experiment, entry.phase) == entry:
                work.kept_units.remove(entry.project, entry.experiment, entry.phase)
        if entry.units is not None:
            remove_files(find_units(lake, entry.project, entry.units).folder)
    except Unavailable as error:
        log.warning("kept_units_stay", experiment=entry.experiment, reason=str(error))


def name_question(request: AggregationRequest, engine: str) -> str:
    """Names what was asked, of which engine and program, but for the time, the state of the lake and days."""
    timeless = replace(request, as_of=datetime.fromtimestamp(0, UTC), state=None, daily=False)
    content = "\n".join((to_text(timeless), engine, __version__))
    return hashlib.sha256(content.encode()).hexdigest()
