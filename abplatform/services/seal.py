"""Seal what the inbox holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
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


def seal_project(
    database: Database,
    lake: Lake,
    project: str,
    *,
    now: datetime,
    patience: float = 30.0,
    progress: Callable[[int], None] = lambda _events: None,
) -> SealReport:
    """Seal everything that a project's inbox holds when this is called.

    Right and repeatable at any time, by any number of callers: a lease lets one of them act.

    Args:
        database: holds the inbox.
        lake: gets the events.
        project: key of the project.
        now: from which the 30 days of deduplication count.
        patience: seconds to wait for another sealer; what it still has in hand after them is left to it.
        progress: told after each claim how many events it had.

    Raises:
        Unavailable: if a part does not answer; nothing is lost, and a later call goes on.
    """
    outcomes = {}
    for kind in KINDS:
        outcomes[kind] = Sealed()
        for outcome in _seal_kind(database, lake, project, kind, now=now, patience=patience):
            outcomes[kind] += outcome
            progress(outcome.sealed + outcome.duplicates + outcome.conflicts)
    return SealReport(
        sealed={kind: outcome.sealed for kind, outcome in outcomes.items()},
        duplicates={kind: outcome.duplicates for kind, outcome in outcomes.items()},
        conflicts={kind: outcome.conflicts for kind, outcome in outcomes.items()},
    )


def seal_waiting(database: Database, lake: Lake, *, clock: Callable[[], datetime]) -> None:
    """One round of the worker: seal every project that has events waiting."""
    inbox = Inbox(database)
    try:
        for project in inbox.waiting_projects():
            _seal_logged(database, lake, project, now=clock())
        inbox.trim_rejections()
    except Unavailable as error:
        if not error.cause:  # else the log has it, once for all rounds
            log.exception("seal_round_failed")
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
) -> Iterator[Sealed]:
    inbox, sealer = Inbox(database), Sealer(database, lake, project, kind)
    last = inbox.last_batch(project, kind)
    if last is None:
        return
    lease, deadline = Lease(database, f"seal:{project}:{kind}", lasts=_LEASE_TIME), time.monotonic() + patience
    try:
        # Only what was there at the start, so that a steady stream does not hold the caller for ever.
        while inbox.pending(project, kind, up_to=last):
            if lease.acquire():
                yield sealer.seal_next(up_to=last, now=now)
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(_POLL_SECONDS)
    finally:
        lease.release()
