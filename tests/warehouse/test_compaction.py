"""Compaction: fewer files, the same rows, whatever else happens meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from abplatform.services.seal import seal_project
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import Compacted, compact
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake, LakeFile
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.merges import TARGET_ROWS, TARGET_SIZE, plan_merges
from abplatform.warehouse.removal import find_orphans, sweep
from abplatform.warehouse.rewrite import Miscounted
from tests.builders import NOW, a_conversion_fact, an_exposure_fact
from tests.warehouse.lakes import Crash, crash_at, facts_of, fill, hence, ids_of
from tests.warehouse.test_older_lakes import OLD, OlderLake, older  # noqa: F401  (a fixture)

MB = 1024**2


def a_file(name: str, size: int, *, rows: int = 1, hours: float = 0.0) -> LakeFile:
    """A file of one day, committed so many hours ago."""
    return LakeFile(
        path=name,
        rows=rows,
        committed_at=NOW - timedelta(hours=hours),
        first_id=None,
        last_id=None,
        last_receipt=None,
        location=name,
        size=size,
        day=date(2026, 11, 1),
        sequence_number=1,
    )


def merged_sizes(files: list[LakeFile]) -> list[list[int]]:
    """What is planned, as sizes in MB."""
    return [[file.size // MB for file in merge.files] for merge in plan_merges(files, now=NOW)]


def test_a_day_becomes_one_sorted_file_with_the_same_rows(lake: Lake) -> None:
    for kind in ("exposure", "conversion"):
        fill(lake, kind)
        before = facts_of(lake, kind)

        done = compact(lake, "default", kind, now=hence())

        assert (done.files, done.merged, done.rows) == (6, 2, 6)
        assert facts_of(lake, kind) == before
        for file in lake.files("default", kind):
            table = pq.ParquetFile(file.path).read()
            order = [table.column(name).to_pylist() for name in ("unit", "timestamp", "event_id")]
            assert list(zip(*order, strict=True)) == sorted(zip(*order, strict=True))
            assert (file.rows, file.size) == (3, Path(file.path).stat().st_size)
            assert f"timestamp_day={file.day}" == Path(file.path).parent.name
            assert {moment.date() for moment in table.column("timestamp").to_pylist()} == {file.day}
    assert compact(lake, "default", "exposure", now=hence()) == Compacted()
    assert compact(lake, "nobody", "exposure", now=hence()) == Compacted()


def test_a_compacted_file_looks_to_readers_like_the_others(local_lake: Lake) -> None:
    fill(local_lake, "conversion", days=1)
    before = pq.ParquetFile(local_lake.files("default", "conversion")[0].path)

    compact(local_lake, "default", "conversion", now=hence())

    file = local_lake.files("default", "conversion")[0]
    after = pq.ParquetFile(file.path)
    assert after.schema.equals(before.schema)
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True), "with Iceberg's numbers of columns"
    assert (file.first_id, file.last_id, file.last_receipt) == ("00-0", "02-0", NOW)


def test_few_files_wait_for_an_hour_without_new_ones(local_lake: Lake) -> None:
    fill(local_lake, commits=3, days=1)

    assert compact(local_lake, "default", "exposure", now=hence(minutes=59)) == Compacted()
    assert compact(local_lake, "default", "exposure", now=hence(minutes=61)).files == 3

    many = [a_file(str(number), MB) for number in range(16)]
    assert merged_sizes(many[:15]) == []
    assert merged_sizes(many) == [[1] * 16]


def test_rows_from_before_a_column_get_it(older: OlderLake) -> None:  # noqa: F811
    new = a_conversion_fact("new", units={"device_id": "device-1"})
    older.append(a_conversion_fact("second"))
    lake = Lake(older.root, older.url)

    compact(lake, "default", "conversion", now=hence(hours=2))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [new]))
    compact(lake, "default", "conversion", now=hence(hours=4))

    (file,) = lake.files("default", "conversion")
    assert pq.ParquetFile(file.path).schema_arrow.names[-2:] == ["units", "sequence_number"]
    assert facts_of(lake, "conversion") == [new, OLD, a_conversion_fact("second")]
    lake.close()


def test_what_is_sealed_meanwhile_stays(local_lake: Lake) -> None:
    ids = fill(local_lake, days=1)
    arrivals = iter(["late-1"])

    def seal(step: str) -> None:
        for name in arrivals if step == "written" else ():
            append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact(name)]))

    assert compact(local_lake, "default", "exposure", now=hence(), reached=seal).files == 3
    assert ids_of(local_lake) == [*ids, "late-1"]
    assert len(local_lake.files("default", "exposure")) == 2


def test_what_is_deleted_meanwhile_stays_deleted(local_lake: Lake) -> None:
    fill(local_lake, days=1)
    kept = an_exposure_fact("kept", experiment="other")
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [kept]))

    def delete(step: str) -> None:
        if step == "written":
            local_lake.delete_experiment("default", "rate-display")

    assert compact(local_lake, "default", "exposure", now=hence(), reached=delete) == Compacted()
    assert ids_of(local_lake) == ["kept"]
    assert find_orphans(local_lake, "default", "exposure")[1] == ()


@pytest.mark.parametrize("step", ["written", "committed"])
def test_a_crash_at_any_step_loses_and_repeats_nothing(local_lake: Lake, step: str) -> None:
    ids = fill(local_lake)
    with pytest.raises(Crash):
        compact(local_lake, "default", "exposure", now=hence(), reached=crash_at(step))
    assert ids_of(local_lake) == ids

    compact(local_lake, "default", "exposure", now=hence())
    assert ids_of(local_lake) == ids
    assert len(local_lake.files("default", "exposure")) == 2
    assert sweep(local_lake, "default", "exposure", now=hence(hours=23)) == 0
    assert sweep(local_lake, "default", "exposure", now=hence(hours=25)) == (1 if step == "written" else 0)
    assert ids_of(local_lake) == ids


def test_repeated_events_are_found_in_compacted_files(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    facts = [an_exposure_fact(f"{number:02}") for number in range(4)]
    for fact in facts:
        inbox.add("default", "exposure", facts_to_arrow("exposure", [fact]), received_at=NOW)
        seal_project(database, lake, "default", now=NOW)
    compact(lake, "default", "exposure", now=hence())
    changed = an_exposure_fact("00", variant="treatment")

    inbox.add("default", "exposure", facts_to_arrow("exposure", [changed, *facts[1:]]), received_at=NOW)
    report = seal_project(database, lake, "default", now=NOW)

    assert (report.sealed["exposure"], report.duplicates["exposure"], report.conflicts["exposure"]) == (0, 3, 1)
    assert facts_of(lake) == facts


def test_files_that_do_not_hold_what_the_lake_says_are_left_alone(local_lake: Lake) -> None:
    fill(local_lake, days=1)
    first, second, *_ = local_lake.files("default", "exposure")
    table = pq.ParquetFile(second.path).read()
    pq.write_table(table.slice(0, 0), first.path)

    with pytest.raises(Miscounted, match="3 files of 2026-11-23 hold 2 rows, not 3"):
        compact(local_lake, "default", "exposure", now=hence())

    assert len(local_lake.files("default", "exposure")) == 3
    assert find_orphans(local_lake, "default", "exposure")[1] == ()


def test_a_file_that_cannot_be_read_leaves_nothing_behind(local_lake: Lake, tmp_path: Path) -> None:
    fill(local_lake, days=2)
    files = sorted(local_lake.files("default", "exposure"), key=lambda file: file.day)
    Path(files[-1].path).write_bytes(b"garbage")
    for _ in range(2):
        with pytest.raises(duckdb.InvalidInputException, match="too small"):
            compact(local_lake, "default", "exposure", now=hence())
        assert list(tmp_path.rglob("merged-*.parquet")) == []


def test_a_stop_ends_it_before_the_next_piece_of_work(local_lake: Lake) -> None:
    ids = fill(local_lake)

    assert compact(local_lake, "default", "exposure", now=hence(), go_on=lambda: False) == Compacted()
    assert ids_of(local_lake) == ids


def test_a_large_file_is_not_rewritten_for_a_few_small_ones() -> None:
    small = [a_file(f"small-{number}", MB, hours=2) for number in range(3)]

    assert merged_sizes([*small, a_file("large", 7 * MB, hours=2)]) == [[1, 1, 1]]
    assert merged_sizes([*small, a_file("large", 6 * MB, hours=2)]) == [[1, 1, 1, 6]]
    assert merged_sizes([a_file("1", 50 * MB, hours=2), a_file("2", 60 * MB, hours=2), small[0]]) == [[50, 60]]


def test_full_files_are_left_alone_and_parts_are_as_large_as_wanted() -> None:
    full = [a_file("big", TARGET_SIZE * 3 // 4, hours=2), a_file("long", 1, rows=TARGET_ROWS * 3 // 4, hours=2)]
    assert plan_merges(full, now=NOW) == ()

    halves = [a_file(str(number), TARGET_SIZE // 2, hours=2) for number in range(5)]
    assert [len(merge.files) for merge in plan_merges(halves, now=NOW)] == [2, 2]


def test_each_byte_is_rewritten_a_few_times_only_however_slowly_a_day_fills() -> None:
    files: list[LakeFile] = []
    rewritten = 0
    for number in range(1_000):
        files.append(a_file(f"{number:05}", 16 * 1024))
        for merge in plan_merges(files, now=NOW):
            gone = {file.path for file in merge.files}
            files = [file for file in files if file.path not in gone]
            files.append(a_file(f"{number:05}-merged", merge.size))
            rewritten += merge.size

    # At most one rewrite for each factor of four between a piece and the whole, 4^5 = 1,024; and few files remain.
    assert sum(file.size for file in files) == 1_000 * 16 * 1024
    assert rewritten <= 5 * 1_000 * 16 * 1024
    assert len(files) < 20


def test_files_of_unknown_commits_count_as_old() -> None:
    files = [replace(a_file(str(number), MB), committed_at=None) for number in range(2)]
    assert len(plan_merges(files, now=NOW)) == 1
