"""The disk on which power is cut in tests: it keeps what was synced, loses the rest, and fails when told to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.server.disk import Disk, a_disk

pytestmark = pytest.mark.usefixtures("compiler")

COMMITS = """
import os, sqlite3, sys
database = sqlite3.connect("{root}/a.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous={synchronous}")
database.execute("CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, body BLOB)")
for number in range(100):
    database.execute("INSERT INTO event (body) VALUES (?)", (os.urandom(1000),))
os._exit(0)
"""
FILES = """
import os
for name, in_file, in_folder in (("both", 1, 1), ("neither", 0, 0), ("content", 1, 0)):
    os.mkdir(f"{root}/{{name}}")
    with open(f"{root}/{{name}}/file", "wb") as file:
        file.write(b"x" * 2000)
        file.flush()
        if in_file:
            os.fsync(file.fileno())
    for folder in ("{root}", f"{root}/{{name}}") if in_folder else ():
        os.fsync(os.open(folder, os.O_RDONLY))
os.rename("{root}/both/file", "{root}/both/renamed")
"""
REFUSED = """
import errno, os
def fault(do):
    try:
        do()
    except OSError as error:
        return errno.errorcode[error.errno]
file = open("{root}/old", "r+b", buffering=0)
print(fault(lambda: os.fsync(file.fileno())), fault(lambda: file.write(b"new")), fault(lambda: file.write(b"longer")),
      fault(lambda: open("{root}/new", "wb")), file.seek(0), file.read())
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk under the test's folder."""
    with a_disk(tmp_path / "disk") as disk:
        yield disk


def run(disk: Disk, root: Path, program: str, **values: str) -> str:
    """Run a program on the disk."""
    command = [sys.executable, "-S", "-c", program.format(root=root, **values)]
    done = subprocess.run(command, env=os.environ | disk.environment, capture_output=True, text=True, check=True)
    return done.stdout


def rows_of(root: Path) -> int:
    connection = sqlite3.connect(root / "a.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("torn", [None, 1, 2, 3])
def test_a_cut_keeps_all_commits_that_were_synced(disk: Disk, tmp_path: Path, torn: int | None) -> None:
    root = tmp_path / "disk"
    run(disk, root, COMMITS, synchronous="FULL")
    disk.cut_power(torn=torn)
    assert rows_of(root) == 100


def test_a_cut_loses_commits_under_synchronous_normal(disk: Disk, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    run(disk, root, COMMITS, synchronous="FULL")
    disk.settle()
    run(disk, root, COMMITS, synchronous="NORMAL")
    disk.cut_power()
    assert 100 <= rows_of(root) < 200


def test_a_name_survives_with_its_folder_and_bytes_with_their_file(disk: Disk, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    run(disk, root, FILES)
    disk.cut_power()
    assert {str(path.relative_to(root)) for path in root.rglob("*")} == {"both", "both/file"}
    assert (root / "both" / "file").read_bytes() == b"x" * 2000


def test_the_journal_knows_what_was_written_and_tells_what_it_does_not_know(disk: Disk, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    run(disk, root, FILES)
    (root / "both" / "renamed").write_bytes(b"from elsewhere")
    assert disk.unexplained() == [str(root / "both" / "renamed")]


def test_a_failing_fsync_and_a_full_disk_are_refused_and_change_nothing(disk: Disk, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    (root / "old").write_bytes(b"old")
    disk.settle()
    disk.switch("sync_fails", on=True)
    disk.switch("full", on=True)
    assert run(disk, root, REFUSED) == "EIO None ENOSPC ENOSPC 0 b'new'\n"
    disk.switch("full", on=False)
    disk.switch("sync_fails", on=False)
    assert run(disk, root, REFUSED) == "None None None None 0 b'newlonger'\n"
