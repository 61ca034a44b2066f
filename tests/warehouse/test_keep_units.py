"""The worker keeps what looks know of units, looks go on from it, and nothing that is wrong with it spoils a look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from abplatform.bootstrap import Platform
from abplatform.database import transaction
from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import Unavailable
from abplatform.services import keep_units
from abplatform.services.keep_units import keep_due
from abplatform.services.rerun import rerun
from abplatform.storage.kept_units import KeptEntry
from abplatform.storage.schema import kept_units as kept_units_table
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.marker import Marker, write_marker
from abplatform.warehouse.unit_files import remove_strays
from tests.builders import an_exposure_fact
from tests.warehouse.lakes import hence
from tests.warehouse.looking import a_platform, add_units, begin, look, step

FIRST, MORE, FEW = range(40), range(40, 80), range(80, 82)


class NotingEngine(DuckDBEngine):
    """DuckDB, and what each answer went on from."""

    def __init__(self) -> None:
        super().__init__("256MB")
        self.went_on: list[bool] = []
        self.fails = False

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """Answer and note."""
        self.went_on.append(kept is not None)
        return super().aggregate(lake, request, kept)

    def keep(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None, *, folder: str) -> KeptUnits:
        """Keep, and fail at the end if it is to."""
        written = super().keep(lake, request, kept, folder=folder)
        if self.fails:
            raise Unavailable("the disk is full")
        return written


@pytest.fixture
def engine() -> NotingEngine:
    """What the platform asks."""
    return NotingEngine()


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is."""
    monkeypatch.setattr(keep_units, "WORTH_KEEPING", 1)


@pytest.fixture
def platform(tmp_path: Path, engine: NotingEngine) -> Iterator[Platform]:
    """A platform with a running experiment, forty units and one look."""
    with a_platform(tmp_path) as platform:
        yield looked_at(platform, engine)


@pytest.fixture
def on_each_database(metadata_url: str, tmp_path: Path, engine: NotingEngine) -> Iterator[Platform]:
    """The same on a database of either kind."""
    with a_platform(tmp_path, metadata_url) as platform:
        yield looked_at(platform, engine)


def looked_at(platform: Platform, engine: NotingEngine) -> Platform:
    noting = replace(platform, engine=engine)
    begin(noting)
    add_units(noting, FIRST)
    look(noting)
    return noting


def work(platform: Platform) -> KeptEntry | None:
    """One round of the worker, and what is kept after it."""
    keep_due(platform, clock=platform.now)
    with platform.uow.reading() as work:
        return work.kept_units.find("default", "rate-display", 1)


def folders(platform: Platform) -> set[str]:
    """Names of the folders of unit tables."""
    root = Path(platform.lake.root.removeprefix("file://")) / "default" / "units"
    return {folder.name for folder in root.iterdir()} if root.is_dir() else set()


def units_of(found: Scorecard) -> int:
    """How many units a look has analysed."""
    return sum(variant.units for variant in found.metrics[0].variants)


def folder_of(entry: KeptEntry | None) -> Path:
    assert entry is not None
    assert entry.units is not None
    return Path(entry.units.folder.removeprefix("file://"))


def test_the_next_look_goes_on_and_finds_what_a_computation_anew_finds(
    on_each_database: Platform, engine: NotingEngine
) -> None:
    platform = on_each_database
    work(platform)
    add_units(platform, MORE)
    found = look(platform)
    assert engine.went_on == [False, True]
    assert units_of(found) == 80
    again = rerun(platform.uow, engine, platform.lake, "default", "rate-display", look=found.look)
    assert engine.went_on[2:] == [False], "proof does not rest on what is kept"
    assert again.agrees


def test_it_is_kept_again_when_a_tenth_has_come(platform: Platform) -> None:
    first = work(platform)
    assert work(platform) == first, "nothing has come"
    add_units(platform, FEW)
    look(platform)
    assert work(platform) == first, "little has come"
    add_units(platform, MORE)
    look(platform)
    second = work(platform)
    assert second is not None
    assert second.rows == 246
    assert folders(platform) == {folder_of(second).name}, "the former one is gone"


def test_nothing_is_kept_in_the_lake_of_another_database_nor_removed_from_it(platform: Platform) -> None:
    kept = folder_of(work(platform))
    stray = kept.with_name("of-the-other")
    stray.mkdir()
    (stray / "units-0.parquet").write_bytes(b"x")
    write_marker(platform.lake, Marker("of another", shared=True))
    step(platform, "stop")

    keep_due(platform, clock=lambda: hence(days=2))

    assert folders(platform) == {kept.name, stray.name}


def test_a_round_begins_again_where_it_cannot_go_on(platform: Platform) -> None:
    first = folder_of(work(platform))
    for file in first.iterdir():
        file.write_bytes(b"")
    add_units(platform, MORE)
    look(platform)
    assert work(platform) is not None
    add_units(platform, FEW)
    assert units_of(look(platform)) == 82


@pytest.mark.parametrize("spoil", ["missing", "empty", "cut short"])
def test_whatever_is_wrong_with_it_a_look_reads_all_events(
    platform: Platform, engine: NotingEngine, spoil: str
) -> None:
    folder = folder_of(work(platform))
    file = folder / "units.parquet"
    if spoil == "missing":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "cut short": file.read_bytes()[:-20]}[spoil])
    add_units(platform, MORE)
    assert units_of(look(platform)) == 80
    assert engine.went_on == [False, True, False]
    assert not folder.exists(), "it is thrown away"
    assert work(platform) is not None


def test_a_metric_that_was_changed_is_another_question(platform: Platform, engine: NotingEngine) -> None:
    entry = work(platform)
    assert entry is not None
    with platform.uow.begin() as unit:
        unit.kept_units.put(replace(entry, question="another"))
    add_units(platform, MORE)
    assert units_of(look(platform)) == 80
    assert engine.went_on == [False, False]


def test_what_another_release_wrote_is_no_answer(platform: Platform, engine: NotingEngine) -> None:
    entry = work(platform)
    with transaction(platform.database) as connection:
        connection.execute(kept_units_table.update().values(units='{"folder": "file:///elsewhere"}'))
    add_units(platform, MORE)
    assert units_of(look(platform)) == 80
    assert engine.went_on == [False, False]
    assert folder_of(work(platform)) != folder_of(entry)


def test_nothing_is_kept_longer_than_the_events(platform: Platform) -> None:
    assert work(platform) is not None
    keep_due(platform, clock=lambda: platform.now() + timedelta(days=platform.settings.retention_days + 400))
    assert folders(platform) == set()


def test_a_round_that_fails_leaves_no_files_and_waits(platform: Platform, engine: NotingEngine) -> None:
    engine.fails = True
    assert work(platform) is None
    assert folders(platform) == set()
    engine.fails = False
    assert work(platform) is None, "it is too soon"
    keep_due(platform, clock=lambda: platform.now() + timedelta(hours=2))
    assert len(folders(platform)) == 1


def test_what_nobody_will_look_at_again_is_removed(platform: Platform) -> None:
    assert work(platform) is not None
    step(platform, "stop")
    assert work(platform) is None
    assert folders(platform) == set()


def test_a_fault_of_one_project_keeps_no_other(platform: Platform) -> None:
    append_facts(platform.lake, "another", "exposure", facts_to_arrow("exposure", [an_exposure_fact()]))
    in_the_way = Path(platform.lake.root.removeprefix("file://")) / "another" / "units"
    in_the_way.touch()
    with pytest.raises(Unavailable):
        remove_strays(platform.lake, "another", [], now=hence(hours=7))

    assert work(platform) is not None, "which comes after the other one"


def test_folders_that_nothing_names_are_removed_once_no_writer_can_own_them(platform: Platform) -> None:
    kept = folder_of(work(platform))
    stray = kept.parent / "stray"
    stray.mkdir()
    (stray / "units.parquet").write_bytes(b"half")
    names = {f"file://{kept}"}
    assert remove_strays(platform.lake, "default", names, now=hence(hours=1)) == 0
    assert remove_strays(platform.lake, "default", names, now=hence(hours=7)) == 1
    assert folders(platform) == {kept.name}
