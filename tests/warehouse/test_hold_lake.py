"""Of two databases with one lake, one a copy of the other, one takes files away, and knows that it may."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from abplatform.database import open_database
from abplatform.services import hold_lake as holding
from abplatform.services.hold_lake import LakeHeldElsewhere, adopt_lake, check_lake, hold_lake
from abplatform.services.seal import seal_project
from abplatform.services.tend import tend, tend_table
from abplatform.settings import Settings
from abplatform.storage import schema
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.marker import Marker, read_marker, write_marker
from abplatform.warehouse.seal import Sealer
from tests.builders import NOW, an_exposure_fact, later
from tests.facts import keep
from tests.warehouse.copies import contents, copy_database
from tests.warehouse.lakes import Crash, crash_at, fill, hence, ids_of

SETTINGS = Settings(engine_memory="256MB")
MINUTES = (later(minutes=number) for number in count())


@dataclass(frozen=True)
class Side:
    """A database, and the lake as it sees it."""

    database: sa.Engine
    lake: Lake

    @property
    def uow(self) -> UnitOfWork:
        """Of the database."""
        return UnitOfWork(self.database)

    def hold(self) -> None:
        """Make sure that the lake is this database's, a minute after the last time."""
        hold_lake(self.uow, self.lake, now=next(MINUTES))

    def adopt(self) -> None:
        """Make it this database's."""
        adopt_lake(self.uow, self.lake, now=next(MINUTES))

    def token(self) -> str:
        """What the marker says."""
        marker = read_marker(self.lake)
        assert marker is not None
        return marker.token

    def ingest(self, name: str) -> None:
        """Take an event, and seal it."""
        keep(Inbox(self.database), "default", "exposure", [an_exposure_fact(name)], received_at=NOW)
        seal_project(self.database, self.lake, "default", now=NOW)


@pytest.fixture
def on_each_database(database: sa.Engine, metadata_url: str, tmp_path: Path) -> Iterator[Side]:
    """A database of either kind with an event in a lake that others may be given too."""
    with closing(Lake((tmp_path / "lake").as_uri(), metadata_url, is_shared=True)) as lake:
        fill(lake, commits=1, days=1)
        yield Side(database, lake)


@pytest.fixture
def original(sqlite_url: str, tmp_path: Path) -> Iterator[Side]:
    """The same where the kind of database is no matter."""
    database = open_database(sqlite_url)
    schema.installation.create(database)
    with closing(Lake((tmp_path / "lake").as_uri(), sqlite_url, is_shared=True)) as lake:
        fill(lake, commits=1, days=1)
        yield Side(database, lake)
    database.dispose()


@pytest.fixture
def sides(original: Side, tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """A database that has tended its lake, and a copy of it with the same lake."""
    original.hold()
    url = copy_database(original.database, tmp_path / "copy.db")
    with closing(Lake(original.lake.root, url, is_shared=True)) as lake:
        copy = Side(open_database(url), lake)
        yield original, copy
        copy.database.dispose()


def test_each_round_leaves_a_new_token(on_each_database: Side) -> None:
    seen = set()
    for _ in range(12):
        on_each_database.hold()
        check_lake(on_each_database.uow, on_each_database.lake)
        seen.add(on_each_database.token())
    assert len(seen) == 12


def test_a_round_of_tending_holds_the_lake(on_each_database: Side) -> None:
    for kind in ("exposure", "conversion"):
        tend_table(on_each_database.database, on_each_database.lake, "default", kind, settings=SETTINGS, now=hence())
    assert on_each_database.token()


def test_a_copy_that_lags_takes_nothing_away_and_goes_on_sealing(sides: tuple[Side, Side], tmp_path: Path) -> None:
    first, copy = sides
    first.hold()
    first.ingest("after-the-copy")
    before = contents(tmp_path / "lake")

    with pytest.raises(LakeHeldElsewhere, match="abplatform lake adopt"):
        tend_table(copy.database, copy.lake, "default", "exposure", settings=SETTINGS, now=hence(days=9))
    with capture_logs() as logs:
        tend(copy.database, copy.lake, SETTINGS, clock=lambda: hence(days=9))
    copy.ingest("of-the-copy")

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("lake_held_elsewhere", "error")]
    assert before.items() <= contents(tmp_path / "lake").items()
    assert "of-the-copy" in ids_of(copy.lake)
    first.hold()


def test_whoever_goes_on_first_has_it_until_the_other_adopts_it(sides: tuple[Side, Side]) -> None:
    first, copy = sides
    copy.hold()
    with pytest.raises(LakeHeldElsewhere):
        first.hold()
    first.adopt()
    for _ in range(2):
        first.hold()
        with pytest.raises(LakeHeldElsewhere):
            copy.hold()


def test_a_database_that_dies_at_any_step_goes_on(original: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    original.hold()
    former = original.token()

    def die(_lake: Lake, _marker: Marker) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(holding, "write_marker", die)
        # The storage takes no files for longer than tokens are remembered.
        for _ in range(15):
            with pytest.raises(Crash):
                original.hold()
    assert original.token() == former
    original.hold()
    assert original.token() != former


def test_a_copy_made_between_two_steps_is_noticed_by_the_next_round(
    sides: tuple[Side, Side], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = sides
    urls: list[str] = []

    def copy_then_write(lake: Lake, marker: Marker) -> None:
        urls.append(copy_database(first.database, tmp_path / "between.db"))
        write_marker(lake, marker)

    with monkeypatch.context() as patch:
        patch.setattr(holding, "write_marker", copy_then_write)
        first.hold()
    first.hold()

    between = open_database(urls[0])
    with pytest.raises(LakeHeldElsewhere):
        hold_lake(UnitOfWork(between), first.lake, now=NOW)
    between.dispose()


def test_a_worker_that_was_halted_between_two_steps_locks_nobody_out(original: Side) -> None:
    original.hold()
    halted = original.token()
    for _ in range(5):
        original.hold()
    write_marker(original.lake, Marker(halted, shared=True))
    original.hold()


def test_many_workers_may_hold_it_at_once(on_each_database: Side) -> None:
    moments = [later(minutes=minute) for minute in range(5) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda now: hold_lake(on_each_database.uow, on_each_database.lake, now=now), moments))
    on_each_database.hold()


def test_the_tables_of_one_round_need_one_token(original: Side) -> None:
    seen = set()
    for seconds in (0, 10, 29, 70, 75):
        hold_lake(original.uow, original.lake, now=later(days=9, seconds=seconds))
        seen.add(original.token())
    assert len(seen) == 2


def test_a_marker_that_is_missing_is_made(original: Side, tmp_path: Path) -> None:
    file = tmp_path / "lake" / "owner.json"
    assert not file.exists(), "an older lake has none"
    original.hold()
    kept = file.read_bytes()
    # An empty folder where the storage is not mounted, for hours: the marker of the real one stays known.
    for _ in range(12):
        file.unlink()
        original.hold()
    file.write_bytes(kept)
    original.hold()
    assert {path.name for path in (tmp_path / "lake").iterdir()} == {"default", "owner.json"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"token": "of somebody else", "shared": false}'])
def test_what_is_no_marker_of_ours_is_one_of_somebody_else(original: Side, tmp_path: Path, content: bytes) -> None:
    original.hold()
    (tmp_path / "lake" / "owner.json").write_bytes(content)
    with pytest.raises(LakeHeldElsewhere):
        original.hold()
    original.adopt()
    original.hold()


def test_a_new_database_does_not_get_the_lake_of_another(original: Side, tmp_path: Path) -> None:
    original.hold()
    url = f"sqlite:///{tmp_path / 'new.db'}"
    stranger = open_database(url)
    schema.installation.create(stranger)
    for shared in (True, False):
        with closing(Lake(original.lake.root, url, is_shared=shared)) as lake, pytest.raises(LakeHeldElsewhere):
            hold_lake(UnitOfWork(stranger), lake, now=NOW)
    stranger.dispose()


def test_a_lake_that_was_copied_with_its_database_may_be_a_little_newer(original: Side, sqlite_url: str) -> None:
    with closing(Lake(original.lake.root, sqlite_url)) as lake:
        beside = Side(original.database, lake)
        beside.hold()
        write_marker(lake, Marker("a round later", shared=False))
        beside.hold()
        # But not one that somebody left who was given this folder by its address.
        write_marker(lake, Marker("of a copy", shared=True))
        with pytest.raises(LakeHeldElsewhere):
            beside.hold()


def test_a_lake_that_is_not_there_is_not_made(original: Side, tmp_path: Path) -> None:
    original.hold()
    (tmp_path / "lake").rename(tmp_path / "unmounted")
    with pytest.raises(FileNotFoundError, match=r"lake, which does not exist here; is it mounted\?"):
        original.hold()
    assert not (tmp_path / "lake").exists()


def test_a_claim_of_both_that_the_first_has_sealed_stays_in_the_lake(sides: tuple[Side, Side], tmp_path: Path) -> None:
    first, _ = sides
    keep(Inbox(first.database), "default", "exposure", [an_exposure_fact("claimed")], received_at=NOW)
    with pytest.raises(Crash):
        Sealer(first.database, first.lake, "default", "exposure", reached=crash_at("claimed")).seal_next(
            up_to=9, now=NOW
        )
    url = copy_database(first.database, tmp_path / "claimed.db")
    seal_project(first.database, first.lake, "default", now=NOW)

    with closing(Lake(first.lake.root, url, is_shared=True)) as lake:
        database = open_database(url)
        seal_project(database, lake, "default", now=NOW)
        assert "claimed" in ids_of(lake)
        database.dispose()

    assert "claimed" in ids_of(first.lake), "the copy takes it for what a dead attempt left"
