"""An addition that failed leaves nothing behind; one of which nobody knows leaves what the table may name."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.exceptions import CommitFailedException

from abplatform.errors import Unavailable
from abplatform.services.seal import seal_project
from abplatform.warehouse import durable_io
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.removal import find_orphans
from tests.builders import NOW, an_exposure_fact, later
from tests.facts import keep
from tests.warehouse.lakes import fill, hence, ids_of, stored_files

TWO_DAYS = facts_to_arrow("exposure", [an_exposure_fact("new", timestamp=later(days=-day)) for day in range(2)])


@pytest.mark.parametrize("file", [".parquet", "-m0.avro", "/snap-", ".metadata.json"])
def test_a_full_disk_keeps_no_file_of_a_commit_that_failed(local_lake: Lake, tmp_path: Path, file: str) -> None:
    known = fill(local_lake)
    _check_left_behind(tmp_path, file, lambda: append_facts(local_lake, "default", "exposure", TWO_DAYS))
    append_facts(local_lake, "default", "exposure", TWO_DAYS)
    assert ids_of(local_lake) == [*known, "new", "new"]


@pytest.mark.parametrize("file", ["merged-", "-m0.avro", "/snap-", ".metadata.json"])
def test_a_full_disk_keeps_no_file_of_a_compaction_that_failed(local_lake: Lake, tmp_path: Path, file: str) -> None:
    known = fill(local_lake)
    _check_left_behind(tmp_path, file, lambda: compact(local_lake, "default", "exposure", now=hence()))
    assert compact(local_lake, "default", "exposure", now=hence()).files == len(known)
    assert ids_of(local_lake) == known


def _check_left_behind(folder: Path, file: str, act: Callable[[], object]) -> None:
    """What fails since there is no room for such a file leaves the files as they were."""
    before = stored_files(folder / "lake")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable_io.os, "fsync", _no_room_for(file))
        with pytest.raises(Unavailable, match="full"):
            act()
    assert stored_files(folder / "lake") == before


def _no_room_for(name: str) -> Callable[[int], None]:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if name in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    return fail


def test_a_commit_that_comes_second_takes_its_files_with_it(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    stale = lake.open("default", "exposure")
    fill(lake, commits=1)
    before = stored_files(tmp_path / "lake")

    with pytest.raises(CommitFailedException):
        stale.append(TWO_DAYS, "seal")

    assert stored_files(tmp_path / "lake") == before


def test_a_deletion_that_comes_second_takes_its_files_with_it(lake: Lake, tmp_path: Path) -> None:
    both = [an_exposure_fact("gone"), an_exposure_fact("kept", experiment="other")]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", both))
    stale = lake.open("default", "exposure")
    fill(lake, commits=1, days=1)
    before = stored_files(tmp_path / "lake")

    with pytest.raises(CommitFailedException):
        stale.delete_experiment("rate-display")

    assert stored_files(tmp_path / "lake") == before
    lake.delete_experiment("default", "rate-display")
    assert ids_of(lake) == ["kept"], "the file is rewritten without the other"


@pytest.mark.parametrize("file", [".parquet", "-m0.avro", ".metadata.json"])
def test_a_full_disk_keeps_no_file_of_a_deletion_that_failed(local_lake: Lake, tmp_path: Path, file: str) -> None:
    both = [an_exposure_fact("gone"), an_exposure_fact("kept", experiment="other")]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", both))
    _check_left_behind(tmp_path, file, lambda: local_lake.delete_experiment("default", "rate-display"))


def test_a_database_that_fails_before_the_commit_leaves_no_files(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    before = stored_files(tmp_path / "lake")
    dialect = lake._catalog.engine.dialect
    execute = dialect.do_execute

    def fail(cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("UPDATE iceberg_tables"):
            raise _lost(dialect)
        execute(cursor, statement, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_execute", fail)
        with pytest.raises(Unavailable):
            append_facts(lake, "default", "exposure", TWO_DAYS)

    assert stored_files(tmp_path / "lake") == before


@pytest.mark.parametrize("happened", [True, False])
def test_files_of_a_commit_in_doubt_stay_until_the_claim_has_been_sealed_again(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    known = fill(lake)
    keep(inbox, "default", "exposure", [an_exposure_fact("new")], received_at=NOW)
    dialect = lake._catalog.engine.dialect
    commit = dialect.do_commit

    def lose_the_answer(connection: object) -> None:
        if happened:
            commit(connection)
        raise _lost(dialect)

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_commit", lose_the_answer)
        with pytest.raises(Unavailable):
            seal_project(database, lake, "default", now=NOW)
    assert (len(ids_of(lake)), _unnamed_data(lake)) == ((7, 0) if happened else (6, 1))

    seal_project(database, lake, "default", now=NOW)

    assert (ids_of(lake), _unnamed_data(lake)) == ([*known, "new"], 0)


def _unnamed_data(lake: Lake) -> int:
    return sum(file.location.endswith(".parquet") for file in find_orphans(lake, "default", "exposure")[1])


def _lost(dialect: sa.Dialect) -> Exception:
    error: Exception = dialect.loaded_dbapi.OperationalError("the connection is lost")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error
