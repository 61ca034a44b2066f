"""Files that get their name when they are whole: what others see of them, and what is left by a kill."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from abplatform.cli.drafts import whole_file

KILLED = """
import os, signal, sys
from pathlib import Path
from abplatform.cli.drafts import whole_file
{before}
with whole_file(Path(sys.argv[1])) as stream:
    stream.write(b"13800138000")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
NAMED = "del os.O_TMPFILE"


@pytest.fixture(params=["unnamed", "named"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to be written, where files without a name are possible, and where they are not."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return tmp_path / "o.csv"


def kill_in_the_middle(output: Path, before: str = "") -> list[str]:
    """Names that are there after a process was killed while it wrote."""
    call = [sys.executable, "-c", KILLED.format(before=before), str(output)]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    return sorted(path.name for path in output.parent.iterdir())


def test_a_file_takes_the_place_of_an_earlier_one_when_it_is_whole(output: Path) -> None:
    output.write_bytes(b"earlier")
    usual = output.with_name("usual")
    usual.touch()
    with whole_file(output) as stream:
        stream.write(b"later")
        assert output.read_bytes() == b"earlier"
    assert output.read_bytes() == b"later"
    assert output.stat().st_mode == usual.stat().st_mode
    assert sorted(path.name for path in output.parent.iterdir()) == ["o.csv", "usual"]


def test_who_may_not_read_the_earlier_one_may_not_read_the_later_one(output: Path) -> None:
    output.touch(mode=0o600)
    with whole_file(output) as stream:
        draft = os.fstat(stream.fileno())
    assert (stat.S_IMODE(draft.st_mode), stat.S_IMODE(output.stat().st_mode)) == (0o600, 0o600)


def test_all_of_it_is_on_the_disk_before_it_has_its_name(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output.write_bytes(b"earlier")
    synced: list[tuple[int, bytes]] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_size, output.read_bytes())))
    with whole_file(output) as stream:
        stream.write(b"a later one")
    assert synced == [(len(b"a later one"), b"earlier")]


def test_a_pipe_is_written_to_and_stays_one(output: Path) -> None:
    os.mkfifo(output)
    reader = os.open(output, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(output) as stream:
        stream.write(b"later")
    assert (os.read(reader, 9), output.is_fifo()) == (b"later", True)
    os.close(reader)


def test_nothing_is_left_of_one_that_fails(output: Path) -> None:
    output.write_bytes(b"earlier")
    with pytest.raises(TypeError), whole_file(output) as stream:
        stream.writelines([b"later", None])  # type: ignore[list-item]
    assert [(path.name, path.read_bytes()) for path in output.parent.iterdir()] == [("o.csv", b"earlier")]


def test_two_at_once_leave_each_other_alone(output: Path) -> None:
    with whole_file(output) as first:
        with whole_file(output) as second:
            second.write(b"second")
        first.write(b"first")
        assert output.read_bytes() == b"second"
    assert [(path.name, path.read_bytes()) for path in output.parent.iterdir()] == [("o.csv", b"first")]


def test_a_draft_that_somebody_took_for_an_abandoned_one_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed between its opening and its lock; no descriptor is left open, which would be a warning."""
    monkeypatch.delattr(os, "O_TMPFILE")
    locks: list[Path] = []

    def lock(descriptor: object, how: int) -> None:
        (draft,) = tmp_path.iterdir()
        locks.append(draft)
        if len(locks) == 1:
            draft.unlink()

    monkeypatch.setattr(fcntl, "flock", lock)
    with whole_file(tmp_path / "o.csv") as stream:
        stream.write(b"whole")
    gc.collect()
    assert ([path.read_bytes() for path in tmp_path.iterdir()], len(locks)) == ([b"whole"], 2)


def test_a_folder_that_is_not_there_is_said(output: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(output.parent / "none" / "o.csv"):
        pass


def test_a_kill_leaves_nothing_where_files_need_no_name(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR))
    except OSError:
        pytest.skip("the disk of temporary files has no files without a name")
    assert kill_in_the_middle(tmp_path / "o.csv") == []


def test_elsewhere_the_next_run_removes_what_a_kill_has_left(tmp_path: Path) -> None:
    output, other = tmp_path / "o.csv", tmp_path / "p.csv"
    kill_in_the_middle(other, NAMED)
    stranger = tmp_path / ".o.csv.swp"
    stranger.touch()
    left = kill_in_the_middle(output, NAMED)
    assert [name.split(".")[1] for name in left] == ["o", "o", "p"]
    with whole_file(output):
        assert sorted(path.name for path in tmp_path.iterdir()) == [stranger.name, left[-1]]
