"""Earlier states of the lake: what is kept for whom, what goes when, and what a crash leaves behind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform.errors import SnapshotExpired
from abplatform.services.seal import seal_project
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.claims import unfinished_claims
from abplatform.warehouse.commit_times import COMMIT_TIMES, CommitTimes, note_forgotten
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.removal import Expired, expire, find_orphans, sweep
from abplatform.warehouse.retention import Dropped, drop_old_days
from abplatform.warehouse.seal import Sealer
from tests.builders import NOW, an_exposure_fact, later
from tests.warehouse.lakes import KEEP, Crash, crash_at, fill, hence, ids_of, nobody, stored_files


def expire_at(lake: Lake, **delta: float) -> Expired:
    """Expire the exposures as if it were so much later."""
    return expire(lake, "default", "exposure", now=hence(**delta), keep=KEEP, claimed=nobody)


def state_of(lake: Lake) -> int:
    """Number of the present state of the exposures."""
    table = lake.find("default", "exposure")
    assert table is not None
    assert table.snapshot_id is not None
    return table.snapshot_id


def test_states_that_were_only_added_to_go_after_a_quarter_of_an_hour(local_lake: Lake, tmp_path: Path) -> None:
    ids = fill(local_lake)
    first = local_lake.files("default", "exposure")

    assert expire_at(local_lake, minutes=14) == Expired()
    # Of each of the two earlier states its list of manifests; the manifests and the data are part of the present one.
    assert expire_at(local_lake, minutes=16) == Expired(snapshots=2, files=2)
    assert expire_at(local_lake, minutes=16) == Expired()

    assert ids_of(local_lake) == ids
    assert {file.path for file in first} <= stored_files(tmp_path / "lake")


def test_files_stay_for_their_readers_after_compaction(local_lake: Lake, tmp_path: Path) -> None:
    ids = fill(local_lake)
    listed, state = local_lake.files("default", "exposure"), state_of(local_lake)
    compact(local_lake, "default", "exposure", now=hence())

    expire_at(local_lake, hours=23)
    assert {file.path for file in listed} <= stored_files(tmp_path / "lake")
    assert local_lake.files("default", "exposure", state)[0].path == listed[0].path

    fill(local_lake, commits=1)  # that the commit of the compaction is not the last one is no reason to forget it
    expire_at(local_lake, hours=23)
    assert {file.path for file in listed} <= stored_files(tmp_path / "lake")

    expire_at(local_lake, hours=25)
    assert not {file.path for file in listed} & stored_files(tmp_path / "lake")
    assert sorted({*ids_of(local_lake)}) == ids
    with pytest.raises(SnapshotExpired, match=f"no longer keeps its state {state}"):
        local_lake.files("default", "exposure", state)


def test_what_has_a_name_stays_with_its_files_until_the_name_goes(lake: Lake) -> None:
    fill(lake, commits=2, days=1)
    state = state_of(lake)
    then = lake.files("default", "exposure")
    lake.tag("default", "exposure", "look-1", state)
    lake.tag("default", "exposure", "look-1", state)
    compact(lake, "default", "exposure", now=hence())
    expire_at(lake, days=400)

    kept = lake.files("default", "exposure", state)
    assert [file.location for file in kept] == [file.location for file in then]
    assert all(Path(file.path).is_file() for file in kept)
    with pytest.raises(ValueError, match="name 'look-1' is taken"):
        lake.tag("default", "exposure", "look-1", state_of(lake))
    for change in (
        lambda: lake.tag("default", "exposure", "main", state),
        lambda: lake.untag("default", "exposure", "main"),
    ):
        with pytest.raises(ValueError, match="name 'main' is"):
            change()

    lake.untag("default", "exposure", "look-1")
    lake.untag("default", "exposure", "look-1")
    expire_at(lake, days=400)
    assert not any(Path(file.path).exists() for file in kept)
    with pytest.raises(SnapshotExpired):
        lake.tag("default", "exposure", "look-1", state)


def test_there_are_no_states_of_a_table_that_does_not_exist(local_lake: Lake) -> None:
    assert expire_at(local_lake) == Expired()
    assert sweep(local_lake, "default", "exposure", now=hence()) == 0
    with pytest.raises(SnapshotExpired):
        local_lake.files("default", "exposure", 1)
    with pytest.raises(SnapshotExpired):
        local_lake.tag("default", "exposure", "look-1", 1)


def test_a_name_that_is_given_while_states_are_forgotten_holds(lake: Lake) -> None:
    fill(lake, commits=2, days=1)
    first = state_of(lake)
    fill(lake, commits=1, days=1)
    named = iter(["look-1"])

    def tag(step: str) -> None:
        for name in named if step == "chosen" else ():
            lake.tag("default", "exposure", name, first)

    done = expire(lake, "default", "exposure", now=hence(hours=1), keep=KEEP, claimed=nobody, reached=tag)

    assert done.snapshots == 1
    assert len(lake.files("default", "exposure", first)) == 2


def test_the_commit_of_a_claim_stays_until_the_claim_is_finished(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    facts = [an_exposure_fact(str(number)) for number in range(5)]
    inbox.add("default", "exposure", facts_to_arrow("exposure", facts), received_at=NOW)
    with pytest.raises(Crash):
        Sealer(database, lake, "default", "exposure", reached=crash_at("committed")).seal_next(up_to=99, now=NOW)
    fill(lake, commits=1, days=1)
    compact(lake, "default", "exposure", now=hence())

    def claimed() -> frozenset[str]:
        return unfinished_claims(database, "default", "exposure")

    assert len(claimed()) == 1
    kept = expire(lake, "default", "exposure", now=hence(days=400), keep=KEEP, claimed=claimed)
    # Had the commit been forgotten, these would count as duplicates of themselves.
    report = seal_project(database, lake, "default", now=NOW)
    assert (report.sealed["exposure"], report.duplicates["exposure"]) == (5, 0)

    assert claimed() == frozenset()
    gone = expire(lake, "default", "exposure", now=hence(days=400), keep=KEEP, claimed=claimed)
    assert (kept.snapshots, gone.snapshots) == (1, 1)
    assert len(ids_of(lake)) == 6


def test_a_repeated_import_is_recognised_for_a_month(local_lake: Lake) -> None:
    rows = facts_to_arrow("exposure", [an_exposure_fact("1")])
    append_facts(local_lake, "default", "exposure", rows, seal_id="import-1")
    fill(local_lake, commits=1, days=1)

    expire_at(local_lake, days=29)
    append_facts(local_lake, "default", "exposure", rows, seal_id="import-1")
    assert ids_of(local_lake) == ["00-0", "1"]

    assert expire_at(local_lake, days=31).snapshots == 1


def test_the_time_of_a_forgotten_commit_stays_known_within_a_day(local_lake: Lake) -> None:
    fill(local_lake)
    before = {file.path: file.committed_at for file in local_lake.files("default", "exposure")}
    expire_at(local_lake, days=1)
    after = {file.path: file.committed_at for file in local_lake.files("default", "exposure")}

    assert set(after) == set(before)
    for path, moment in before.items():
        assert moment is not None
        assert after[path] is not None
        assert moment <= after[path] < moment + timedelta(days=1)  # type: ignore[operator]


def test_what_is_noted_of_forgotten_commits_is_one_line_a_day_and_errs_towards_later(local_lake: Lake) -> None:
    fill(local_lake, commits=1, days=1)
    table = local_lake.find("default", "exposure")
    assert table is not None
    metadata = table.iceberg.metadata
    day = 86_400_000
    start = int(NOW.timestamp() * 1000) - 200 * day
    # Ten commits a day for 200 days.
    commits = [
        metadata.snapshots[0].model_copy(update={"sequence_number": 1 + n, "timestamp_ms": start + n * day // 10})
        for n in range(2_000)
    ]
    noted = metadata
    for number in range(0, 2_000, 10):
        notes = note_forgotten(noted, commits[number : number + 10], now=NOW)
        noted = noted.model_copy(update={"snapshots": [], "properties": notes})

    times = CommitTimes(noted)

    assert len(noted.properties[COMMIT_TIMES]) < 62 * 25
    for commit in commits:
        found, really = (
            times.find(commit.sequence_number),
            NOW - timedelta(milliseconds=200 * day - (commit.timestamp_ms - start)),
        )
        assert found is not None
        if really >= NOW - timedelta(days=60):
            assert timedelta(milliseconds=-2) <= found - really <= timedelta(days=1)
        else:
            assert really - timedelta(milliseconds=2) <= found < NOW - timedelta(days=59)
    assert times.find(2_001) is None
    assert times.find(None) is None


@pytest.mark.parametrize("step", ["chosen", "forgotten", "removed"])
def test_a_crash_at_any_step_leaves_files_that_the_sweep_finds(local_lake: Lake, tmp_path: Path, step: str) -> None:
    ids = fill(local_lake)
    compact(local_lake, "default", "exposure", now=hence())
    crash = {"now": hence(hours=25), "keep": KEEP, "claimed": nobody, "reached": crash_at(step)}
    with pytest.raises(Crash):
        expire(local_lake, "default", "exposure", **crash)  # type: ignore[arg-type]
    assert ids_of(local_lake) == ids

    # Nothing that is left is older than a day by its own date, so nothing goes before.
    assert sweep(local_lake, "default", "exposure", now=hence(hours=23)) == 0
    expire_at(local_lake, hours=25)
    sweep(local_lake, "default", "exposure", now=hence(hours=25))

    assert find_orphans(local_lake, "default", "exposure")[1] == ()
    assert ids_of(local_lake) == ids
    assert (
        len([path for path in stored_files(tmp_path / "lake" / "default" / "exposures") if path.endswith("parquet")])
        == 2
    )


def test_the_sweep_spares_files_whose_commit_is_under_way(local_lake: Lake, tmp_path: Path) -> None:
    ids = fill(local_lake, commits=1)
    stray = tmp_path / "lake" / "default" / "exposures" / "data" / "stray.parquet"
    stray.write_bytes(b"half a file")

    assert sweep(local_lake, "default", "exposure", now=hence(hours=23)) == 0
    assert [file.location for file in find_orphans(local_lake, "default", "exposure")[1]] == [stray.as_uri()]
    assert sweep(local_lake, "default", "exposure", now=hence(hours=25)) == 1

    assert not stray.exists()
    assert ids_of(local_lake) == ids


def test_whole_days_go_when_all_their_events_are_too_old(local_lake: Lake, tmp_path: Path) -> None:
    facts = [
        an_exposure_fact(str(age), timestamp=NOW.replace(hour=hour) - timedelta(days=age))
        for age, hour in ((0, 9), (29, 9), (30, 0), (31, 23), (400, 9))
    ]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", facts))

    assert drop_old_days(local_lake, "default", "exposure", now=later(), days=30) == Dropped(days=2, files=2, rows=2)
    assert drop_old_days(local_lake, "default", "exposure", now=later(), days=30) == Dropped()
    assert ids_of(local_lake) == ["0", "29", "30"]

    assert expire_at(local_lake, hours=25).files >= 2
    assert not [path for path in stored_files(tmp_path / "lake") if path.endswith("parquet") and "2025" in path]
    assert drop_old_days(local_lake, "nobody", "exposure", now=later(), days=30) == Dropped()
