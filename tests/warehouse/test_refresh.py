"""Scheduled looks: when they are due, who takes them, and what one that fails does to the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from abplatform.bootstrap import Platform
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import Unavailable
from abplatform.services import define
from abplatform.services.refresh import refresh_due
from abplatform.services.schedule import Schedule, schedule_refresh
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_metric, a_scorecard, an_experiment, later
from tests.services.lives import lead
from tests.warehouse.looking import a_platform, add_units, begin

HOURLY = timedelta(hours=1)


@dataclass
class Reader:
    """Notes who was looked at; what is broken does not answer."""

    seen: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()

    def look(self, _project: str, key: str) -> Scorecard:
        self.seen.append(key)
        if key in self.broken:
            raise Unavailable("the engine does not answer")
        return a_scorecard(key)


@pytest.fixture
def uow(database: sa.Engine) -> UnitOfWork:
    """Two experiments that are looked at every hour."""
    uow = UnitOfWork(database)
    with uow.begin() as work:
        work.projects.ensure("default", now=NOW)
        define.create_metric(work, "default", a_metric(), now=NOW)
    for key in ("one", "two"):
        lead(uow, an_experiment(key), "start")
        schedule(uow, key, HOURLY)
    return uow


def schedule(uow: UnitOfWork, key: str, every: timedelta | None) -> None:
    with uow.begin() as work:
        schedule_refresh(work, "default", key, Schedule(every=every))


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def test_each_is_looked_at_when_it_is_due_and_not_before(database: sa.Engine, uow: UnitOfWork) -> None:
    reader = Reader()
    for minutes in (0, 1, 59, 60, 61, 119, 121):
        refresh_due(database, uow, reader.look, clock=at(later(minutes=minutes)))
    assert reader.seen == ["one", "two"] * 3


def test_another_schedule_begins_at_once_and_none_ends_at_once(database: sa.Engine, uow: UnitOfWork) -> None:
    reader = Reader()
    refresh_due(database, uow, reader.look, clock=at(NOW))
    schedule(uow, "one", timedelta(minutes=5))
    schedule(uow, "two", None)
    refresh_due(database, uow, reader.look, clock=at(later(minutes=1)))
    refresh_due(database, uow, reader.look, clock=at(later(minutes=6)))
    assert reader.seen == ["one", "two", "one", "one"]


def test_one_that_fails_keeps_no_other_is_logged_and_tried_again_soon(database: sa.Engine, uow: UnitOfWork) -> None:
    reader = Reader(broken=frozenset({"one"}))
    with capture_logs() as logs:
        refresh_due(database, uow, reader.look, clock=at(NOW))
    assert [(each["event"], each["experiment"]) for each in logs] == [("refresh_failed", "one"), ("refreshed", "two")]
    for minutes in (1, 16, 61):
        refresh_due(database, uow, reader.look, clock=at(later(minutes=minutes)))
    assert reader.seen == ["one", "two", "one", "one", "two"]


def test_of_many_workers_one_looks(database: sa.Engine, uow: UnitOfWork) -> None:
    reader, together = Reader(), threading.Barrier(6)

    def work() -> None:
        together.wait()
        refresh_due(database, uow, reader.look, clock=at(NOW))

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(work) for _ in range(6)]:
            done.result()
    assert sorted(reader.seen) == ["one", "two"]


def test_a_round_ends_when_the_worker_stops(database: sa.Engine, uow: UnitOfWork) -> None:
    reader = Reader()
    refresh_due(database, uow, reader.look, clock=at(NOW), go_on=lambda: not reader.seen)
    assert reader.seen == ["one"]


def test_a_database_that_does_not_answer_is_logged(database: sa.Engine, uow: UnitOfWork) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE experiment RENAME TO lost")
    try:
        with capture_logs() as logs:
            refresh_due(database, uow, Reader().look, clock=at(NOW))
    finally:
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE lost RENAME TO experiment")
    assert [each["event"] for each in logs] == ["refresh_round_failed"]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform with a running experiment and forty units."""
    with a_platform(tmp_path) as platform:
        begin(platform)
        add_units(platform, range(40))
        yield platform


def test_scheduled_looks_are_looks_and_numbered_only_when_something_changed(platform: Platform) -> None:
    schedule(platform.uow, "rate-display", HOURLY)
    now = platform.now()
    for hours in (0, 2):
        refresh_due(platform.database, platform.uow, platform.results, clock=at(now + timedelta(hours=hours)))
    assert [card.look for card in platform.looks("default", "rate-display")] == [1]
    add_units(platform, range(40, 50))
    refresh_due(platform.database, platform.uow, platform.results, clock=at(now + timedelta(hours=4)))
    first, second = platform.looks("default", "rate-display")
    assert (second.look, sum(second.health.units.values())) == (2, 50)
    assert platform.results("default", "rate-display") == second
    assert first.cut_off != second.cut_off


def test_the_worker_looks(platform: Platform) -> None:
    schedule(platform.uow, "rate-display", HOURLY)
    stop = threading.Event()
    worker = threading.Thread(target=platform.work, kwargs={"stop": stop})
    worker.start()
    try:
        for _ in range(600):
            if platform.looks("default", "rate-display"):
                break
            threading.Event().wait(0.05)
    finally:
        stop.set()
        worker.join()
    assert [card.look for card in platform.looks("default", "rate-display")] == [1]
