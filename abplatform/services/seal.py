"""Seal what the inbox holds, once or for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from abplatform.domain.events import EventKind
from abplatform.warehouse.inbox import Database, Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.seal import Sealed, Sealer

_POLL_SECONDS = 0.05
# Short, so that a killed sealer holds nobody up for long; a slow one that loses it does no harm.
_LEASE_TIME = timedelta(seconds=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SealReport:
    """What became of the events of a project, by kind (``exposure``, ``conversion``).

    Attributes:
        sealed: how many went into the lake.
        duplicates: how many said again what was known.
        conflicts: how many used the id of another event.
    """

    sealed: Mapping[str, int]
    duplicates: Mapping[str, int]
    conflicts: Mapping[str, int]


def seal_project(database: Database, lake: Lake, project: str, *, now: datetime, patience: float = 30.0) -> SealReport:
    """Seal everything that a project's inbox holds when this is called.

    Right and repeatable at any time, by any number of callers: a lease lets one of them act.

    Args:
        database: holds the inbox.
        lake: gets the events.
        project: key of the project.
        now: from which the 30 days of deduplication count.
        patience: seconds to wait for another sealer; what it still has in hand after them is left to it.

    Raises:
        Unavailable: if a part does not answer; nothing is lost, and a later call goes on.
    """
    outcomes = {kind: _seal_kind(database, lake, project, kind, now=now, patience=patience) for kind in KINDS}
    return SealReport(
        sealed={kind: outcome.sealed for kind, outcome in outcomes.items()},
        duplicates={kind: outcome.duplicates for kind, outcome in outcomes.items()},
        conflicts={kind: outcome.conflicts for kind, outcome in outcomes.items()},
    )


def run(
    database: Database,
    lake: Lake,
    *,
    interval: float,
    stop: threading.Event,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Seal all projects every ``interval`` seconds until ``stop`` is set; the round under way is finished first.

    A fault of one round is logged and tried again in the next.
    """
    # A round that takes longer than the interval is no news: the next one begins after it.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(
        seal_waiting,
        IntervalTrigger(seconds=interval, timezone=UTC),
        args=(database, lake),
        kwargs={"clock": clock},
        next_run_time=datetime.now(UTC),
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    scheduler.start()
    log.info("worker_started", interval=interval)
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
        log.info("worker_stopped")


def seal_waiting(database: Database, lake: Lake, *, clock: Callable[[], datetime]) -> None:
    """One round of the worker: seal every project that has events waiting."""
    inbox = Inbox(database)
    try:
        for project in inbox.waiting_projects():
            _seal_logged(database, lake, project, now=clock())
        inbox.trim_rejections()
    except Exception:
        log.exception("seal_round_failed")


def _seal_logged(database: Database, lake: Lake, project: str, *, now: datetime) -> None:
    started = time.monotonic()
    try:
        report = seal_project(database, lake, project, now=now, patience=0)
    except Exception:
        # One project's trouble must not keep the others' events waiting.
        log.exception("seal_failed", project=project)
        return
    if any(report.sealed.values()) or any(report.duplicates.values()) or any(report.conflicts.values()):
        took = round(time.monotonic() - started, 3)
        log.info(
            "sealed",
            project=project,
            sealed=report.sealed,
            duplicates=report.duplicates,
            conflicts=report.conflicts,
            seconds=took,
        )


def _seal_kind(
    database: Database, lake: Lake, project: str, kind: EventKind, *, now: datetime, patience: float
) -> Sealed:
    inbox, sealer = Inbox(database), Sealer(database, lake, project, kind)
    total, last = Sealed(), inbox.last_batch(project, kind)
    if last is None:
        return total
    lease, deadline = Lease(database, f"seal:{project}:{kind}", lasts=_LEASE_TIME), time.monotonic() + patience
    try:
        # Only what was there at the start, so that a steady stream does not hold the caller for ever.
        while inbox.pending(project, kind, up_to=last):
            if lease.acquire():
                total += sealer.seal_next(up_to=last, now=now)
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        lease.release()
    return total
