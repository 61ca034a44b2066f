"""The worker seals in the background, outlives faults, and stops cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from abplatform.errors import Unavailable
from abplatform.services import seal as service
from abplatform.services.work import Job, work
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.lease import Lease
from tests.builders import NOW, an_exposure_fact
from tests.facts import keep
from tests.warehouse.test_lake import rows_of


def test_the_worker_seals_what_arrives_until_it_is_stopped(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    stop = threading.Event()
    job = Job("seal", partial(service.seal_waiting, database, lake, clock=lambda: datetime.now(UTC)), 0.05)
    worker = threading.Thread(target=work, args=([job],), kwargs={"stop": stop})
    with capture_logs() as logs:
        worker.start()
        for project in ("one", "two", "one"):
            event_id = f"{project}-{inbox.counters(project, 'exposure')}-{time.monotonic_ns()}"
            keep(inbox, project, "exposure", [an_exposure_fact(event_id)], received_at=NOW)
            _wait(lambda project=project: inbox.pending(project) == 0)
        stop.set()
        worker.join(timeout=20)

    assert not worker.is_alive()
    assert len(rows_of(lake, project="one")) == 2
    assert len(rows_of(lake, project="two")) == 1
    assert [log["event"] for log in logs] == ["worker_started", "sealed", "sealed", "sealed", "worker_stopped"]


def test_trouble_with_one_project_does_not_keep_others_waiting(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in ("bad", "good"):
        keep(inbox, project, "exposure", [an_exposure_fact("1")], received_at=NOW)
    seal_project = service.seal_project

    def full_disk(database: sa.Engine, lake: Lake, project: str, **named: object) -> object:
        if project == "bad":
            raise OSError(28, "No space left on device")
        return seal_project(database, lake, project, **named)

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(service, "seal_project", full_disk)
        service.seal_waiting(database, lake, clock=lambda: NOW)

    assert (inbox.pending("bad"), inbox.pending("good")) == (1, 0)
    assert [(log["event"], log["project"]) for log in logs] == [("seal_failed", "bad"), ("sealed", "good")]
    service.seal_waiting(database, lake, clock=lambda: NOW)
    assert inbox.pending("bad") == 0


@pytest.mark.parametrize(
    ("cause", "logged"), [("", ["seal_round_failed"]), ("host db, port 5432: what the log of outages says, too", [])]
)
def test_a_round_without_a_database_is_survived_and_logged_once(
    database: sa.Engine, lake: Lake, monkeypatch: pytest.MonkeyPatch, cause: str, logged: list[str]
) -> None:
    def gone(self: Inbox) -> tuple[str, ...]:
        raise Unavailable("the database does not answer; try again shortly", cause=cause)

    monkeypatch.setattr(Inbox, "waiting_projects", gone)
    with capture_logs() as logs:
        service.seal_waiting(database, lake, clock=lambda: NOW)
    assert [log["event"] for log in logs] == logged


def test_a_lease_has_one_holder_until_it_ends(database: sa.Engine) -> None:
    time_now = [NOW]
    mine, yours = (Lease(database, "job", lasts=timedelta(seconds=10), clock=lambda: time_now[0]) for _ in range(2))

    assert mine.acquire()
    assert not yours.acquire()
    assert Lease(database, "another job").acquire()
    time_now[0] += timedelta(seconds=6)
    assert mine.acquire()
    time_now[0] += timedelta(seconds=6)
    assert not yours.acquire()
    yours.release()
    assert not yours.acquire()
    time_now[0] += timedelta(seconds=4)
    assert yours.acquire()
    assert not mine.acquire()
    yours.release()
    assert mine.acquire()


def test_one_of_many_who_ask_at_once_gets_the_lease(database: sa.Engine) -> None:
    ready, answers = threading.Barrier(6), []

    def ask() -> None:
        ready.wait()
        answers.append(Lease(database, "job").acquire())

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 5 + [True]


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
