"""Tend the lake: retention, compaction, expiry and removal, table by table, beside sealing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from abplatform.domain.events import EventKind
from abplatform.services.hold_lake import LakeHeldElsewhere, hold_lake
from abplatform.services.name_looks import name_looks
from abplatform.settings import Settings
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.claims import unfinished_claims
from abplatform.warehouse.compaction import Compacted, compact
from abplatform.warehouse.holds import held_states
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.removal import Expired, expire, sweep
from abplatform.warehouse.retention import Dropped, drop_old_days, first_kept_day

# How often the worker looks; a round that has nothing to do costs some milliseconds for each table.
TEND_SECONDS = 60.0

# A worker that dies leaves its table to others after so long. One that loses the lease does no harm.
_LEASE_TIME = timedelta(minutes=5)
# Listing all files of a table is for what crashes left behind: a few times a day is enough.
_SWEEP_TIME = timedelta(hours=6)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tended:
    """What was done to a table.

    Attributes:
        dropped: by retention.
        named: whether names of states were given or taken, as looks need them.
        compacted: by compaction.
        expired: earlier states that were forgotten, and files that went with them.
        swept: files that nothing named.
    """

    dropped: Dropped = field(default_factory=Dropped)
    named: bool = False
    compacted: Compacted = field(default_factory=Compacted)
    expired: Expired = field(default_factory=Expired)
    swept: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self != Tended()


def tend(
    database: Database,
    lake: Lake,
    settings: Settings,
    *,
    clock: Callable[[], datetime],
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """One round of the worker: tend every table. A fault of one table is logged, and tried again in the next round.

    Where another database has gone on with the lake, that is logged, and nothing is done.

    Args:
        database: holds the inbox and the leases.
        lake: holds the tables.
        settings: say how long what is kept.
        clock: the time, with a zone.
        go_on: asked before each piece of work of some seconds; False ends the round.
    """
    try:
        projects = lake.projects()
    except Exception:
        log.exception("tend_round_failed")
        return
    try:
        for project in projects:
            for kind in KINDS:
                if go_on():
                    _tend_logged(database, lake, project, kind, settings=settings, now=clock(), go_on=go_on)
    except LakeHeldElsewhere as error:
        log.error("lake_held_elsewhere", reason=error.detail)  # noqa: TRY400 - where in the code is of no interest


def tend_table(
    database: Database,
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    settings: Settings,
    now: datetime,
    go_on: Callable[[], bool] = lambda: True,
) -> Tended | None:
    """Tend one table: delete days that are too old, name the states that looks need, merge small files, forget earlier
    states, remove useless files.

    Right and repeatable at any time, by any number of callers, and whenever one of them dies; a lease lets one act.

    Args:
        database: holds the inbox and the leases.
        lake: holds the table.
        project: key of the project.
        kind: exposures or conversions.
        settings: say how long what is kept.
        now: the time.
        go_on: asked before each piece of work of some seconds; False ends this early.

    Returns:
        What was done; None if another one holds the lease.

    Raises:
        LakeHeldElsewhere: if another database has gone on with the lake; nothing was done.
        Miscounted: if files do not hold what the lake says; nothing was done to them.
        Unavailable: if a part does not answer; a later call goes on.
    """
    lease = Lease(database, f"tend:{project}:{kind}", lasts=_LEASE_TIME)
    if not lease.acquire():
        return None

    def still_ours() -> bool:
        return go_on() and lease.acquire()

    try:
        hold_lake(UnitOfWork(database), lake, now=now)
        dropped = drop_old_days(lake, project, kind, now=now, days=settings.retention_days)
        # Before names are given: a look that is recorded, and lets go of its state, after that keeps it in this round.
        held = held_states(database, project, kind, now=now)
        # Before expiry, which forgets states without a name.
        first_day = first_kept_day(now, settings.retention_days)
        named = name_looks(UnitOfWork(database), lake, project, kind, first_day=first_day)
        memory = settings.engine_memory
        compacted, fault = Compacted(), None
        try:
            compacted = compact(lake, project, kind, now=now, memory_limit=memory, go_on=still_ours)
        except Exception as error:  # noqa: BLE001 - raised below: one bad file must not keep all others for ever
            fault = error
        keep = timedelta(hours=settings.snapshot_hours)
        expired = expire(
            lake,
            project,
            kind,
            now=now,
            keep=keep,
            claimed=lambda: unfinished_claims(database, project, kind),
            held=held,
        )
        # Not given back: whoever comes next waits until it has run out.
        turn = Lease(database, f"sweep:{project}:{kind}", lasts=_SWEEP_TIME, clock=lambda: now)
        due = still_ours() and turn.acquire()
        swept = sweep(lake, project, kind, now=now) if due else 0
        if fault is not None:
            raise fault
        return Tended(dropped=dropped, named=named, compacted=compacted, expired=expired, swept=swept)
    finally:
        lease.release()


def _tend_logged(
    database: Database,
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    settings: Settings,
    now: datetime,
    go_on: Callable[[], bool],
) -> None:
    try:
        done = tend_table(database, lake, project, kind, settings=settings, now=now, go_on=go_on)
    except LakeHeldElsewhere:
        raise
    except Exception:
        log.exception("tend_failed", project=project, kind=kind)
        return
    if done is not None and done.changed:
        log.info(
            "tended",
            project=project,
            kind=kind,
            names_changed=done.named,
            days_dropped=done.dropped.days,
            events_dropped=done.dropped.rows,
            files_merged=done.compacted.files,
            files_written=done.compacted.merged,
            states_forgotten=done.expired.snapshots,
            files_removed=done.expired.files + done.swept,
        )
