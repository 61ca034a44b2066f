"""Look at the results of experiments that have a schedule, when they are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from abplatform.domain.scorecard import Scorecard
from abplatform.storage.experiments import Scheduled
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lease import Lease

# How often the worker asks what is due: schedules are kept to that.
REFRESH_SECONDS = 30.0

# A look that fails, or whose worker dies, is tried again after so long, or at the next time if that is sooner.
_TRY_AGAIN = timedelta(minutes=15)

log = structlog.get_logger(__name__)


def refresh_due(
    database: Database,
    uow: UnitOfWork,
    look: Callable[[str, str], Scorecard],
    *,
    clock: Callable[[], datetime],
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """One round of the worker: look at each experiment that is due. A fault of one is logged, and keeps no other.

    The lease of an experiment is held from one look to the time of the next, so that one of many workers acts; it has
    the schedule in its name, so that a new schedule begins at once.

    Args:
        database: holds the leases.
        uow: where experiments are kept.
        look: gives the results of an experiment, by its project and key.
        clock: the time, with a zone.
        go_on: asked before each look; False ends the round.
    """
    try:
        with uow.reading() as work:
            scheduled = work.experiments.scheduled()
    except Exception:
        log.exception("refresh_round_failed")
        return
    for each in scheduled:
        if go_on():
            _refresh(database, each, look, clock)


def _refresh(
    database: Database, due: Scheduled, look: Callable[[str, str], Scorecard], clock: Callable[[], datetime]
) -> None:
    seconds = round(due.every.total_seconds())
    began = clock()
    try:
        lease = Lease(database, f"refresh:{due.project}:{due.key}:{seconds}", lasts=_TRY_AGAIN, clock=clock)
        if not lease.acquire(until=began + min(_TRY_AGAIN, due.every)):
            return
        found = look(due.project, due.key)
        lease.acquire(until=began + due.every)
    except Exception:
        log.exception("refresh_failed", project=due.project, experiment=due.key)
        return
    log.info("refreshed", project=due.project, experiment=due.key, phase=found.phase, look=found.look)
