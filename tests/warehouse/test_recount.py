"""The check of the lake's files: each kind of damage is found and named."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from abplatform.warehouse.compaction import compact
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS, TABLE_NAMES
from abplatform.warehouse.overview import Overview, describe
from abplatform.warehouse.recount import Recount, recount
from tests.builders import later
from tests.warehouse.lakes import fill, hence


def problems(found: Recount) -> list[str]:
    """What was found, without the names of files."""
    return [finding.problem for finding in found.findings]


def check(lake: Lake) -> Recount:
    """Check the exposures now."""
    return recount(lake, "default", "exposure", now=hence(seconds=1))


@pytest.fixture
def victim(local_lake: Lake) -> Path:
    """A data file of three."""
    fill(local_lake, days=1)
    return Path(local_lake.files("default", "exposure")[1].path)


def test_a_sound_lake_has_nothing_wrong_before_and_after_compaction(local_lake: Lake) -> None:
    shares: list[float] = []
    fill(local_lake)
    assert recount(local_lake, "default", "exposure", now=hence(), progress=shares.append) == Recount(files=6, rows=6)
    assert shares[-1] == 1
    assert shares == sorted(shares)

    compact(local_lake, "default", "exposure", now=hence())
    assert check(local_lake) == Recount(files=8, rows=6)
    assert recount(local_lake, "nobody", "exposure", now=hence()) == Recount()


def test_a_missing_file_is_named(local_lake: Lake, victim: Path) -> None:
    victim.unlink()
    (finding,) = check(local_lake).findings
    assert (finding.location, finding.problem) == (f"file://{victim}", "is missing")


@pytest.mark.usefixtures("victim")
def test_a_missing_list_of_manifests_is_named(local_lake: Lake) -> None:
    lost = Path(
        local_lake.open("default", "exposure").iceberg.metadata.snapshots[0].manifest_list.removeprefix("file://")
    )
    lost.unlink()
    (finding,) = check(local_lake).findings
    assert finding.problem.startswith("names a file that is missing: ")
    assert str(lost) in finding.problem


def reopened(sqlite_url: str, tmp_path: Path) -> Lake:
    """The lake as another process sees it."""
    return Lake((tmp_path / "lake").as_uri(), sqlite_url)


@pytest.mark.usefixtures("victim")
@pytest.mark.parametrize(("content", "problem"), [(None, "is missing"), (b"{", "cannot be read: ")])
def test_metadata_that_is_missing_or_damaged_is_named(
    local_lake: Lake, sqlite_url: str, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    lost = Path(local_lake.open("default", "exposure").iceberg.metadata_location.removeprefix("file://"))
    lost.unlink() if content is None else lost.write_bytes(content)
    with closing(reopened(sqlite_url, tmp_path)) as lake:
        (finding,) = check(lake).findings
        assert finding.location == f"file://{lost}"
        assert finding.problem.startswith(problem)
        assert recount(lake, "default", "conversion", now=hence()).findings == ()


@pytest.mark.usefixtures("victim")
def test_a_place_that_is_not_there_is_named(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "lake").rename(tmp_path / "unmounted")
    with closing(reopened(sqlite_url, tmp_path)) as lake:
        for kind in KINDS:
            (finding,) = recount(lake, "default", kind, now=hence()).findings
            assert finding.location == f"file://{tmp_path}/lake/default/{TABLE_NAMES[kind]}"
            assert finding.problem == "holds the table, and does not exist here; is it mounted?"


def test_a_list_of_manifests_that_was_cut_short_is_named(local_lake: Lake) -> None:
    fill(local_lake, commits=1)
    latest = local_lake.open("default", "exposure").iceberg.current_snapshot()
    assert latest is not None
    damaged = Path(latest.manifest_list.removeprefix("file://"))
    damaged.write_bytes(damaged.read_bytes()[:20])
    (finding,) = check(local_lake).findings
    assert finding.problem.startswith("names a file that cannot be read: ")


def test_a_file_that_was_cut_short_cannot_be_read(local_lake: Lake, victim: Path) -> None:
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-100])
    size, damage = problems(check(local_lake))
    assert size == f"has {len(whole) - 100} bytes, and {len(whole)} by its manifest"
    assert damage.startswith("cannot be read: ")


def test_damage_inside_the_footer_cannot_be_read(local_lake: Lake, victim: Path) -> None:
    whole = bytearray(victim.read_bytes())
    whole[-300:-200] = b"\xff" * 100
    victim.write_bytes(whole)
    assert all(problem.startswith("cannot be read: ") for problem in problems(check(local_lake)))
    assert len(problems(check(local_lake))) == 1


def test_other_rows_and_columns_than_promised_are_named(local_lake: Lake, victim: Path) -> None:
    table = pq.ParquetFile(victim).read()
    changed = table.slice(0, 0).drop_columns(["variant", "attributes"])
    changed = changed.append_column("extra", changed["phase"]).set_column(2, "phase", changed["unit"])
    pq.write_table(changed, victim)

    found = problems(check(local_lake))

    assert found[0].startswith("has ")
    assert found[1:] == [
        "holds 0 rows, and 1 by its manifest",
        "has the column phase as string, not int32",
        "lacks the column variant",
        "lacks the column attributes",
        "has a column extra that the table does not have",
    ]


def test_files_that_nothing_names_are_no_damage(local_lake: Lake, victim: Path) -> None:
    stray = victim.with_name("stray.parquet")
    stray.write_bytes(b"x")

    young, old = check(local_lake), recount(local_lake, "default", "exposure", now=hence(hours=25))

    assert (young.findings, young.orphans, young.young) == ((), (), 1)
    assert [(file.location, file.size) for file in old.orphans] == [(f"file://{stray}", 1)]
    assert (old.findings, old.young) == ((), 0)


def test_a_table_in_numbers(local_lake: Lake) -> None:
    assert local_lake.projects() == ()
    empty = local_lake.open("default", "exposure")
    assert local_lake.projects() == ("default",)
    assert describe(empty) == Overview(
        rows=0, files=0, size=0, days=0, first_day=None, last_day=None, snapshots=0, tags=(), committed_at=None
    )
    fill(local_lake, commits=2, days=3)
    table = local_lake.open("default", "exposure")
    assert table.snapshot_id is not None
    local_lake.tag("default", "exposure", "look-1", table.snapshot_id)

    found = describe(local_lake.open("default", "exposure"))

    assert (found.rows, found.files, found.days, found.snapshots, found.tags) == (6, 6, 3, 2, ("look-1",))
    assert found.size == sum(Path(file.path).stat().st_size for file in table.files())
    assert (found.first_day, found.last_day) == (later(days=-2).date(), later().date())
    assert found.committed_at is not None
