from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform.bootstrap import prepare_database
from abplatform.errors import StartRefused, Unavailable
from abplatform.services.guard_key import read_pseudonym_key
from abplatform.settings import Settings


def test_the_embedded_default_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    key = read_pseudonym_key(settings)
    assert len(key) == 64
    assert read_pseudonym_key(settings) == key
    assert (tmp_path / "home" / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_of_many_first_starts_at_once_all_use_one_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read_pseudonym_key(settings), range(32)))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


@pytest.mark.parametrize(("mode", "text"), [(0o644, "k" * 64), (0o600, "short")])
def test_a_key_file_that_others_read_or_that_is_cut_short_stops_the_start(tmp_path: Path, mode: int, text: str) -> None:
    (tmp_path / "pseudonym.key").write_text(text)
    (tmp_path / "pseudonym.key").chmod(mode)
    with pytest.raises(StartRefused, match=r"pseudonym\.key"):
        read_pseudonym_key(Settings(home=tmp_path))


def test_a_database_that_began_with_another_key_stops_the_start(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    prepare_database(settings)
    prepare_database(settings)
    (tmp_path / "pseudonym.key").unlink()
    with pytest.raises(StartRefused, match="not the one that this database began with"):
        prepare_database(settings)


def test_secrets_are_not_in_the_text_of_settings() -> None:
    settings = Settings(pseudonym_key="k" * 40, database_url="postgresql://user:hunter2@host/db")
    assert "kkkk" not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_a_prepared_database_that_can_only_be_read_will_do(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    prepare_database(settings)

    def forbid(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    sa.event.listen(sa.Engine, "connect", forbid)
    try:
        prepare_database(settings)
        with pytest.raises(Unavailable, match="can only be read"):
            prepare_database(Settings(home=tmp_path / "new"))
    finally:
        sa.event.remove(sa.Engine, "connect", forbid)
