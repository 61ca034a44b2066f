"""A home that was moved, restored or copied works where it is, and touches nothing outside of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform.bootstrap import Platform
from abplatform.errors import Conflict
from abplatform.services import keep_units
from abplatform.services.keep_units import keep_due
from abplatform.services.rerun import rerun
from abplatform.warehouse import manifests
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.recent import Recent
from abplatform.warehouse.recount import recount
from abplatform.warehouse.removal import find_orphans
from tests.builders import NOW, an_exposure_fact
from tests.facts import keep
from tests.warehouse.copies import contents, copy_database
from tests.warehouse.lakes import fill, hence, ids_of
from tests.warehouse.looking import a_platform, add_units, begin, look, tend_all

FIRST, MORE = range(40), range(40, 80)


@pytest.fixture(autouse=True)
def everything_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is, what looks know of units is kept."""
    monkeypatch.setattr(keep_units, "WORTH_KEEPING", 1)


@contextmanager
def another_process(folder: Path) -> Iterator[Platform]:
    """The platform of a home as a process sees it that has not read its manifests yet."""
    with pytest.MonkeyPatch.context() as patch:
        for cache in ("_entries", "_lists", "_manifests"):
            patch.setattr(manifests, cache, Recent(1000))
        with a_platform(folder) as platform:
            yield platform


def fill_home(platform: Platform) -> None:
    """An experiment with events, a look at it, and what that look knows of units."""
    begin(platform)
    for part in (FIRST[:20], FIRST[20:]):
        add_units(platform, part)
    look(platform)
    tend_all(platform, now=hence(seconds=1))
    keep_due(platform, clock=platform.now)


def work_in(platform: Platform, new: str) -> None:
    """Take events, seal them, look, look again at an earlier look, and tidy up until days have passed."""
    keep(platform.inbox, "default", "exposure", [an_exposure_fact(new, experiment="other")], received_at=NOW)
    assert platform.seal("default").sealed["exposure"] == 1
    add_units(platform, MORE)
    found = look(platform)
    assert sum(variant.units for variant in found.metrics[0].variants) == 80
    for number in (1, found.look):
        assert rerun(platform.uow, platform.engine, platform.lake, "default", "rate-display", look=number).agrees
    keep_due(platform, clock=lambda: hence(days=2))
    stray = Path(platform.lake.files("default", "exposure")[0].path).with_name("stray.parquet")
    stray.write_bytes(b"half a file")
    rounds = [tend_all(platform, now=hence(hours=hours))[0] for hours in (2, 40, 80)]
    done = [each for each in rounds if each is not None]
    assert done[0].compacted.merged
    assert sum(each.expired.files for each in done)
    assert sum(each.swept for each in done)
    assert not stray.exists()
    for kind in KINDS:
        assert recount(platform.lake, "default", kind, now=hence(days=4)).findings == ()
        assert find_orphans(platform.lake, "default", kind)[1] == ()
    assert new in ids_of(platform.lake)


def test_a_home_may_be_moved_as_a_whole(tmp_path: Path) -> None:
    with a_platform(tmp_path / "first") as platform:
        fill_home(platform)
    shutil.move(tmp_path / "first", tmp_path / "second")

    with another_process(tmp_path / "second") as platform:
        work_in(platform, "new")

        assert all(
            file.path.startswith(f"{tmp_path}/second/lake/") for file in platform.lake.files("default", KINDS[0])
        )
    assert not (tmp_path / "first").exists()
    # And back again, or on: names stay those of the first place.
    shutil.move(tmp_path / "second", tmp_path / "third")
    with another_process(tmp_path / "third") as platform:
        assert recount(platform.lake, "default", "exposure", now=hence()).findings == ()
        platform.lake.delete_experiment("default", "other")
        assert "new" not in ids_of(platform.lake)


def test_work_in_a_copy_changes_nothing_in_the_original(tmp_path: Path) -> None:
    with a_platform(tmp_path / "home") as original:
        fill_home(original)
        (tmp_path / "copy").mkdir()
        copy_database(original.database, tmp_path / "copy" / "platform.db")
        # It goes on while its lake is copied.
        keep(original.inbox, "default", "exposure", [an_exposure_fact("later", experiment="x")], received_at=NOW)
        original.seal("default")
        forgotten = tend_all(original, now=hence(minutes=20))[0]
        assert forgotten is not None
        assert forgotten.expired.files, "before they are copied"
        shutil.copytree(tmp_path / "home" / "lake", tmp_path / "copy" / "lake")
        before = contents(tmp_path / "home" / "lake")

        with another_process(tmp_path / "copy") as copy:
            work_in(copy, "of-the-copy")
            assert "later" not in ids_of(copy.lake)

        assert contents(tmp_path / "home" / "lake") == before
        assert "later" in ids_of(original.lake)
        assert tend_all(original, now=hence(hours=30))[0] is not None
        assert recount(original.lake, "default", "exposure", now=hence()).findings == ()


def test_tables_of_a_moved_lake_name_all_files_alike(sqlite_url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    lake = Lake(first.as_uri(), sqlite_url)
    fill(lake, commits=1)
    lake.close()
    first.rename(second)

    lake = Lake(second.as_uri(), sqlite_url)
    fill(lake, "conversion", commits=1)
    fill(lake, commits=1)

    for kind in KINDS:
        files = lake.files("default", kind)
        assert all(file.location.startswith(f"file://{first}/default/") for file in files)
        assert all(Path(file.path).is_relative_to(second) for file in files)
    found = recount(lake, "default", "exposure", now=hence())
    assert (found.findings, found.orphans, found.young) == ((), (), 0)
    stray = second / "default" / "exposures" / "data" / "stray"
    stray.write_bytes(b"x")
    (orphan,) = recount(lake, "default", "exposure", now=hence(days=2)).orphans
    assert orphan.location == f"file://{stray}", "people are told where it is now"
    lake.close()


def test_a_table_that_lies_nowhere_in_a_lake_is_left_alone(local_lake: Lake, sqlite_url: str) -> None:
    fill(local_lake, commits=1)
    with local_lake._catalog.for_writing().engine.begin() as connection:
        statement = (
            "UPDATE iceberg_tables SET metadata_location = 'file:///elsewhere/exposures/metadata/1.metadata.json'"
        )
        connection.execute(sa.text(f"{statement} WHERE table_name = 'exposures'"))

    with pytest.raises(
        Conflict, match=r"default\.exposures is said to lie in file:///elsewhere/exposures, which is no"
    ):
        local_lake.find("default", "exposure")

    (finding,) = recount(local_lake, "default", "exposure", now=hence()).findings
    assert finding.problem.startswith("cannot be: the table default.exposures")
    assert recount(local_lake, "default", "conversion", now=hence() + timedelta(days=1)).findings == ()
