"""A sealer that dies at any point loses nothing and repeats nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.exceptions import CommitFailedException

from abplatform.database import open_database
from abplatform.services.seal import seal_project
from abplatform.warehouse import seal
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake, LakeTable
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.seal import Sealed, Sealer
from tests.builders import NOW, an_exposure_fact
from tests.facts import keep
from tests.warehouse.processes import run_until_killed, seal_all, several_processes
from tests.warehouse.test_lake import rows_of

STEPS = ("claimed", "deduplicated", "committed", "deleting")
FIRST = [an_exposure_fact(str(n)) for n in range(5)]
CONFLICTING = an_exposure_fact("0", variant="treatment")


class Crash(BaseException):
    """The process ends here."""


def crash_at(step: str) -> object:
    """A hook that ends the process at a step."""

    def reached(here: str) -> None:
        if here == step:
            raise Crash

    return reached


def deliver(inbox: Inbox) -> None:
    """Five events, one of them twice, and one more with the id of another."""
    keep(inbox, "default", "exposure", FIRST, received_at=NOW)
    keep(inbox, "default", "exposure", [FIRST[1], CONFLICTING], received_at=NOW)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_is_made_good_by_the_next_sealer(
    database: sa.Engine, inbox: Inbox, lake: Lake, step: str
) -> None:
    deliver(inbox)
    dying = Sealer(database, lake, "default", "exposure", reached=crash_at(step))
    for _ in range(3):
        with pytest.raises(Crash):
            dying.seal_next(up_to=99, now=NOW)
    extra = an_exposure_fact("after")
    keep(inbox, "default", "exposure", [extra, FIRST[2]], received_at=NOW)

    seal_project(database, lake, "default", now=NOW)

    assert rows_of(lake) == [*FIRST, extra]
    assert inbox.counters("default", "exposure") == {"rejected": 0, "duplicates": 2, "conflicts": 1}
    assert inbox.pending("default") == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_process_is_made_good_by_the_next_sealer(sqlite_url: str, tmp_path: Path, step: str) -> None:
    database = open_database(sqlite_url)
    inbox, root = Inbox(database), (tmp_path / "lake").as_uri()
    deliver(inbox)

    assert run_until_killed(root, sqlite_url, step) == -signal.SIGKILL

    lake = Lake(root, sqlite_url)
    seal_project(database, lake, "default", now=NOW)
    assert rows_of(lake) == FIRST
    assert inbox.counters("default", "exposure") == {"rejected": 0, "duplicates": 1, "conflicts": 1}
    assert inbox.pending("default") == 0
    lake.close()
    database.dispose()


@pytest.mark.parametrize("step", ["claimed", "deduplicated", "committed"])
def test_a_sealer_that_slept_through_its_lease_changes_nothing(
    database: sa.Engine, inbox: Inbox, lake: Lake, step: str
) -> None:
    deliver(inbox)

    def another_takes_over(here: str) -> None:
        if here == step and not takeover:
            takeover.append(Sealer(database, lake, "default", "exposure").seal_next(up_to=99, now=NOW))

    takeover: list[Sealed] = []
    late = Sealer(database, lake, "default", "exposure", reached=another_takes_over).seal_next(up_to=99, now=NOW)

    assert takeover == [Sealed(5, 1, 1)]
    assert late == Sealed()
    assert rows_of(lake) == FIRST
    assert inbox.counters("default", "exposure") == {"rejected": 0, "duplicates": 1, "conflicts": 1}


def test_a_commit_that_comes_second_looks_for_duplicates_again(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(inbox, "default", "exposure", FIRST, received_at=NOW)
    find, calls = seal.find_sealed, []

    def another_import_comes_first(*args: object, **named: object) -> object:
        found = find(*args, **named)
        if not calls:
            rows = facts_to_arrow("exposure", FIRST[:3])
            lake.open("default", "exposure").append(rows, "another")
        calls.append(len(found))
        return found

    monkeypatch.setattr(seal, "find_sealed", another_import_comes_first)
    report = seal_project(database, lake, "default", now=NOW)

    assert calls == [0, 3]
    assert (report.sealed["exposure"], report.duplicates["exposure"]) == (2, 3)
    assert rows_of(lake) == FIRST


def test_a_lake_that_never_stops_changing_leaves_the_inbox_as_it_is(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(inbox)

    def always_second(*args: object) -> None:
        raise CommitFailedException("another commit came first")

    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "append", always_second)
        with pytest.raises(seal.Unavailable):
            seal_project(database, lake, "default", now=NOW)
    assert inbox.pending("default") == 7

    seal_project(database, lake, "default", now=NOW)
    assert rows_of(lake) == FIRST


def test_sealers_in_several_processes_never_count_twice(metadata_url: str, tmp_path: Path) -> None:
    root = (tmp_path / "lake").as_uri()
    with several_processes(2) as pool:
        running = [
            pool.submit(seal_all, root, metadata_url, number, leases) for number, leases in ((0, True), (1, False))
        ]
        totals = [each.result(timeout=120) for each in running]

    database, lake = open_database(metadata_url), Lake(root, metadata_url)
    seal_project(database, lake, "default", now=NOW)
    assert [fact.event_id for fact in rows_of(lake)] == [f"{n:03}" for n in range(100)]
    # Both sent all 100 events twice.
    assert Inbox(database).counters("default", "exposure") == {"rejected": 0, "duplicates": 300, "conflicts": 0}
    assert sum(totals) <= 100
    lake.close()
    database.dispose()
