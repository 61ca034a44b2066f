"""Do jobs again and again until told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done at intervals.

    Attributes:
        name: for the log.
        run: does it once; it handles its own faults.
        seconds: from the start of one round to that of the next. One that takes longer is followed at once.
    """

    name: str
    run: Callable[[], None]
    seconds: float


def work(jobs: Sequence[Job], *, stop: threading.Event) -> None:
    """Do each job in a thread of its own until ``stop`` is set; rounds under way are finished first."""
    # A round that takes longer than the interval is no news.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(timezone=UTC)
    for job in jobs:
        scheduler.add_job(
            job.run,
            IntervalTrigger(seconds=job.seconds, timezone=UTC),
            name=job.name,
            next_run_time=datetime.now(UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
    scheduler.start()
    log.info("worker_started", jobs={job.name: job.seconds for job in jobs})
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
        log.info("worker_stopped")
