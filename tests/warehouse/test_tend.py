"""Tending: one round does all that a table needs, one worker at a time, beside sealing and through kills."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from abplatform.database import open_database
from abplatform.services import tend as tending
from abplatform.services.seal import seal_project
from abplatform.services.tend import Tended, tend, tend_table
from abplatform.settings import Settings
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.removal import find_orphans, sweep
from tests.builders import NOW, an_exposure_fact
from tests.warehouse.lakes import facts_of, fill, hence, ids_of, tidy, tidy_and_die
from tests.warehouse.processes import seal_all, several_processes

SETTINGS = Settings(engine_memory="256MB")


def test_a_round_does_all_that_a_table_needs(database: sa.Engine, lake: Lake, tmp_path: Path) -> None:
    ids = fill(lake)
    old = [an_exposure_fact("old", timestamp=NOW - timedelta(days=1100))]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", old))
    stray = tmp_path / "lake" / "default" / "exposures" / "data" / "stray.parquet"
    stray.write_bytes(b"half a file")

    def round_at(moment: datetime) -> Tended:
        done = tend_table(database, lake, "default", "exposure", settings=SETTINGS, now=moment)
        assert done is not None
        return done

    first = round_at(hence(hours=2))
    assert (first.dropped.rows, first.compacted.files, first.compacted.merged, first.swept) == (1, 6, 2, 0)
    assert first.expired.snapshots == 3, "all but the ones around the commits that took files away"
    second = round_at(hence(hours=26))
    assert (second.expired.snapshots, second.swept) == (2, 1)
    assert not round_at(hence(hours=26)).changed
    assert ids_of(lake) == ids
    assert find_orphans(lake, "default", "exposure")[1] == ()


def test_only_one_acts_at_a_time(database: sa.Engine, lake: Lake) -> None:
    fill(lake, commits=2, days=1)
    other = Lease(database, "tend:default:exposure")
    assert other.acquire()
    assert tend_table(database, lake, "default", "exposure", settings=SETTINGS, now=hence()) is None
    other.release()
    done = tend_table(database, lake, "default", "exposure", settings=SETTINGS, now=hence())
    assert done is not None
    assert done.compacted.files == 2


def test_files_that_nothing_names_are_looked_for_four_times_a_day(
    database: sa.Engine, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, commits=1)
    looked: list[str] = []

    def note(lake: Lake, project: str, kind: str, *, now: datetime) -> int:
        looked.append(kind)
        return 0

    monkeypatch.setattr(tending, "sweep", note)
    for _ in range(3):
        tend(database, lake, SETTINGS, clock=hence)
    assert looked == ["exposure", "conversion"]


def test_one_table_in_trouble_does_not_keep_the_others(
    database: sa.Engine, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("exposure", "conversion"):
        fill(lake, kind, commits=2, days=1)

    def fail(lake: Lake, project: str, kind: str, **named: object) -> object:
        if kind == "exposure":
            raise RuntimeError("the disk is on fire")
        return compact(lake, project, kind, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(tending, "compact", fail)
    with capture_logs() as logs:
        tend(database, lake, SETTINGS, clock=hence)

    assert [(entry["event"], entry["kind"]) for entry in logs] == [
        ("tend_failed", "exposure"),
        ("tended", "conversion"),
    ]
    assert (logs[1]["files_merged"], logs[1]["files_written"]) == (2, 1)


def test_a_round_ends_when_the_worker_stops(database: sa.Engine, lake: Lake) -> None:
    fill(lake, commits=2, days=1)
    tend(database, lake, SETTINGS, clock=hence, go_on=lambda: False)
    assert len(lake.files("default", "exposure")) == 2


def test_compaction_and_sealing_in_several_processes_count_each_event_once(
    sqlite_url: str, local_lake: Lake, tmp_path: Path
) -> None:
    database, lake = open_database(sqlite_url), local_lake
    root = (tmp_path / "lake").as_uri()
    with several_processes(1) as pool:
        sealing = pool.submit(seal_all, root, sqlite_url, 0, True)
        while not sealing.done():
            compact(lake, "default", "exposure", now=hence())
            time.sleep(0.1)
        assert sealing.result() == 100
    seal_project(database, lake, "default", now=NOW)

    compact(lake, "default", "exposure", now=hence(hours=4))

    assert ids_of(lake) == [f"{number:03}" for number in range(100)]
    assert len(lake.files("default", "exposure")) == 1
    database.dispose()


def test_killed_processes_are_made_good_by_the_next_round(local_lake: Lake, sqlite_url: str, tmp_path: Path) -> None:
    fill(local_lake)
    before = facts_of(local_lake)
    for step in ("written", "removed"):
        killed = get_context("spawn").Process(
            target=tidy_and_die, args=((tmp_path / "lake").as_uri(), sqlite_url, step)
        )
        killed.start()
        killed.join(timeout=60)
        assert killed.exitcode == -signal.SIGKILL
        killed.close()
        assert facts_of(local_lake) == before

    tidy(local_lake, lambda _step: None)
    sweep(local_lake, "default", "exposure", now=hence(hours=50))

    assert facts_of(local_lake) == before
    assert len(local_lake.files("default", "exposure")) == 2
    assert find_orphans(local_lake, "default", "exposure")[1] == ()
