"""Keep what looks know of each unit, so that the next look reads only what has come since."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from abplatform import __version__
from abplatform.domain.aggregates import AggregationRequest, KeptUnits
from abplatform.domain.experiment import UNDER_WAY
from abplatform.errors import Unavailable
from abplatform.services.hold_lake import LakeHeldElsewhere, check_lake
from abplatform.services.resume import forget, name_question
from abplatform.settings import Settings
from abplatform.storage.kept_units import KeptEntry
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.news import CannotResume
from abplatform.warehouse.retention import first_kept_day
from abplatform.warehouse.unit_files import find_units, new_folder, remove_files, remove_strays

# How often the worker looks for something to keep.
KEEP_SECONDS = 60.0
# Reading fewer events than that anew costs no more than going on.
WORTH_KEEPING = 250_000
# Kept again once so much has come: all in all that reads every event a few times.
_GROWTH = 1.1
# One that fails, or whose worker dies, is tried again after so long. Two at once do no harm: one of the two is kept.
_TRY_AGAIN = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Keeping(Protocol):
    """The parts of a platform that it takes to keep something."""

    @property
    def settings(self) -> Settings:
        """Say how long events are kept."""

    @property
    def database(self) -> Database:
        """Holds the leases."""

    @property
    def uow(self) -> UnitOfWork:
        """Where looks are kept, and where it is written what is kept."""

    @property
    def lake(self) -> Lake:
        """Holds the events, and beside them what is kept."""

    @property
    def engine(self) -> Engine:
        """Reads and writes."""


def keep_due(platform: Keeping, *, clock: Callable[[], datetime], go_on: Callable[[], bool] = lambda: True) -> None:
    """One round of the worker: keep what is worth it, throw away what is of no use.

    A fault of one project, or of one experiment, is logged, and keeps no other.

    Args:
        platform: its parts.
        clock: the time, with a zone.
        go_on: asked before each piece of work; False ends the round.
    """
    try:
        projects = platform.lake.projects()
        if projects:
            check_lake(platform.uow, platform.lake)
    except LakeHeldElsewhere:
        return  # Tending says so. What is of no use here may be of use to the other database.
    except Exception:
        log.exception("keep_round_failed")
        return
    for project in projects:
        try:
            _keep_project(platform, project, now=clock(), go_on=go_on)
        except Exception:
            log.exception("keep_project_failed", project=project)


def keep_look(platform: Keeping, request: AggregationRequest, *, now: datetime) -> KeptEntry | None:
    """Keep what a look of now would know of each unit; None, and nothing done, if that is not worth it.

    Args:
        platform: its parts.
        request: of an earlier look: asked again of the present state of the lake.
        now: the time.

    Raises:
        Unavailable: if the lake or the engine does not answer.
    """
    lake, uow = platform.lake, platform.uow
    request = replace(request, as_of=now, state=lake.state(request.project))
    question = name_question(request, platform.engine.version)
    files = [file for kind in KINDS for file in lake.files_of(request.project, kind, request.state)]
    rows = sum(file.rows for file in files)
    with uow.reading() as work:
        old = work.kept_units.find(request.project, request.experiment, request.phase)
    units = None if old is None or old.units is None else find_units(lake, request.project, old.units)
    known = old if old is not None and old.question == question else None
    first_day = first_kept_day(now, platform.settings.retention_days)
    waits_for_retention = any(file.day < first_day for file in files)
    if rows < WORTH_KEEPING or waits_for_retention or (known is not None and rows < known.rows * _GROWTH):
        return None
    job = f"keep:{request.project}:{request.experiment}:{request.phase}"
    turn = Lease(platform.database, job, lasts=_TRY_AGAIN, clock=lambda: now)
    if not turn.acquire():
        return None
    entry = KeptEntry(
        project=request.project,
        experiment=request.experiment,
        phase=request.phase,
        question=question,
        rows=rows,
        units=_write(platform, request, None if known is None else units),
    )
    with uow.begin() as work:
        work.kept_units.put(entry)
    turn.release()  # not where it failed: the next try waits
    if units is not None:
        remove_files(units.folder)
    return entry


def _keep_project(platform: Keeping, project: str, *, now: datetime, go_on: Callable[[], bool]) -> None:
    uow, first_day = platform.uow, first_kept_day(now, platform.settings.retention_days)
    with uow.reading() as work:
        requests = _latest_requests(work, project, platform.engine.version)
        entries = work.kept_units.of_project(project)
    for entry in entries:
        units = entry.units
        too_old = units is not None and units.first_day is not None and units.first_day < first_day
        if too_old or (entry.experiment, entry.phase) not in requests:
            forget(uow, platform.lake, entry)
    for request in requests.values():
        if go_on():
            _keep_logged(platform, request, now=now)
    with uow.reading() as work:
        found = [entry.units for entry in work.kept_units.of_project(project) if entry.units is not None]
    kept = {find_units(platform.lake, project, units).folder for units in found}
    remove_strays(platform.lake, project, kept, now=now)


def _latest_requests(work: Work, project: str, engine: str) -> dict[tuple[str, int], AggregationRequest]:
    """What the latest look asked, by experiment and phase, of those that will be looked at again by this program."""
    found = {}
    for experiment in work.experiments.looked_at(project):
        look = work.looks.latest(project, experiment.key, experiment.phase) if experiment.status in UNDER_WAY else None
        evidence = None if look is None else look.evidence
        if evidence is not None and (evidence.engine, evidence.version) == (engine, __version__):
            found[experiment.key, experiment.phase] = evidence.request
    return found


def _keep_logged(platform: Keeping, request: AggregationRequest, *, now: datetime) -> None:
    try:
        entry = keep_look(platform, request, now=now)
    except Exception:
        log.exception("keep_failed", project=request.project, experiment=request.experiment)
        return
    if entry is not None:
        log.info("kept_units", project=entry.project, experiment=entry.experiment, phase=entry.phase, rows=entry.rows)


def _write(platform: Keeping, request: AggregationRequest, known: KeptUnits | None) -> KeptUnits | None:
    folder = new_folder(platform.lake, request.project)
    try:
        return platform.engine.keep(platform.lake, request, known, folder=folder)
    except Exception as error:
        with suppress(Unavailable):
            remove_files(folder)
        if known is not None:  # it may be damaged
            return _write(platform, request, None)
        if not isinstance(error, CannotResume):
            raise
        log.warning("cannot_keep_units", experiment=request.experiment, reason=str(error))
        return None
