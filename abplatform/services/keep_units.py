"""Keep what looks know of each unit, so that the next look reads only what has come since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from abplatform.domain.aggregates import AggregationRequest, KeptUnits
from abplatform.domain.experiment import UNDER_WAY
from abplatform.errors import SnapshotExpired
from abplatform.services.resume import name_question
from abplatform.storage.kept_units import KeptEntry
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.news import CannotResume
from abplatform.warehouse.unit_files import new_folder, remove_files, remove_strays

# How often the worker looks for something to keep.
KEEP_SECONDS = 60.0
# Reading fewer events than that anew costs no more than going on.
WORTH_KEEPING = 250_000
# Kept again once so much has come: all in all that reads every event a few times.
_GROWTH = 1.1
# A worker that dies leaves the job to others after so long. Two at once do no harm: one of the two is kept.
_LEASE_TIME = timedelta(minutes=30)

log = structlog.get_logger(__name__)


def keep_due(
    database: Database,
    uow: UnitOfWork,
    lake: Lake,
    engine: Engine,
    *,
    clock: Callable[[], datetime],
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """One round of the worker: keep what is worth it, throw away what is of no use. A fault of one keeps no other.

    Args:
        database: holds the leases.
        uow: where looks are kept, and where it is written what is kept.
        lake: holds the events, and beside them what is kept.
        engine: reads and writes.
        clock: the time, with a zone.
        go_on: asked before each piece of work; False ends the round.
    """
    lease = Lease(database, "keep_units", lasts=_LEASE_TIME, clock=clock)
    try:
        if not lease.acquire():
            return
        try:
            for project in lake.projects():
                _keep_project(uow, lake, engine, project, now=clock(), go_on=lambda: go_on() and lease.acquire())
        finally:
            lease.release()
    except Exception:
        log.exception("keep_round_failed")


def keep_look(uow: UnitOfWork, lake: Lake, engine: Engine, request: AggregationRequest) -> KeptEntry | None:
    """Keep what a look knows of each unit; None, and nothing done, if that is not worth it.

    Args:
        uow: where it is written what is kept.
        lake: holds the events, and beside them what is kept.
        engine: reads and writes.
        request: of the look.

    Raises:
        SnapshotExpired: if the lake no longer keeps the state that it names.
        Unavailable: if the lake or the engine does not answer.
    """
    question = name_question(request, engine.version)
    rows = sum(file.rows for kind in KINDS for file in lake.files_of(request.project, kind, request.state))
    with uow.reading() as work:
        old = work.kept_units.find(request.project, request.experiment, request.phase)
    known = old if old is not None and old.question == question else None
    if rows < WORTH_KEEPING or (known is not None and rows < known.rows * _GROWTH):
        return None
    entry = KeptEntry(
        project=request.project,
        experiment=request.experiment,
        phase=request.phase,
        question=question,
        rows=rows,
        units=_write(lake, engine, request, None if known is None else known.units),
    )
    with uow.begin() as work:
        work.kept_units.put(entry)
    if old is not None and old.units is not None:
        remove_files(old.units)
    return entry


def _keep_project(
    uow: UnitOfWork, lake: Lake, engine: Engine, project: str, *, now: datetime, go_on: Callable[[], bool]
) -> None:
    with uow.reading() as work:
        requests = _latest_requests(work, project)
        entries = work.kept_units.of_project(project)
    for entry in entries:
        if (entry.experiment, entry.phase) not in requests:
            _forget(uow, entry)
    for request in requests.values():
        if go_on():
            _keep_logged(uow, lake, engine, request)
    with uow.reading() as work:
        kept = {entry.units.folder for entry in work.kept_units.of_project(project) if entry.units is not None}
    remove_strays(lake, project, kept, now=now)


def _latest_requests(work: Work, project: str) -> dict[tuple[str, int], AggregationRequest]:
    """What the latest look asked, by experiment and phase, of those that will be looked at again."""
    found = {}
    for experiment in work.experiments.looked_at(project):
        look = work.looks.latest(project, experiment.key, experiment.phase) if experiment.status in UNDER_WAY else None
        if look is not None and look.evidence is not None:
            found[experiment.key, experiment.phase] = look.evidence.request
    return found


def _keep_logged(uow: UnitOfWork, lake: Lake, engine: Engine, request: AggregationRequest) -> None:
    try:
        entry = keep_look(uow, lake, engine, request)
    except SnapshotExpired:
        return  # The next look has a younger one.
    except Exception:
        log.exception("keep_failed", project=request.project, experiment=request.experiment)
        return
    if entry is not None:
        log.info("kept_units", project=entry.project, experiment=entry.experiment, phase=entry.phase, rows=entry.rows)


def _write(lake: Lake, engine: Engine, request: AggregationRequest, known: KeptUnits | None) -> KeptUnits | None:
    folder = new_folder(lake, request.project)
    try:
        return engine.keep(lake, request, known, folder=folder)
    except CannotResume as error:
        if known is not None:
            return _write(lake, engine, request, None)
        log.warning("cannot_keep_units", experiment=request.experiment, reason=str(error))
        return None


def _forget(uow: UnitOfWork, entry: KeptEntry) -> None:
    with uow.begin() as work:
        work.kept_units.remove(entry.project, entry.experiment, entry.phase)
    if entry.units is not None:
        remove_files(entry.units)
