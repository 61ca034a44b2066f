"""A commit of the lake is on disk, names included, before the catalog points at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from abplatform.warehouse import durable_io
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.durable_io import DurableFileIO
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import an_exposure_fact


def test_every_file_of_a_commit_is_synced_with_its_folder(
    local_lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        state = os.fstat(descriptor)
        synced.add((state.st_dev, state.st_ino))

    monkeypatch.setattr(durable_io.os, "fsync", note)
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact()]))

    root = tmp_path / "lake"
    everything = {root, *root.rglob("*")}
    assert len([path for path in everything if path.is_file()]) >= 5
    states = {path: path.stat() for path in everything}
    assert [path for path, state in states.items() if (state.st_dev, state.st_ino) not in synced] == []


def test_a_write_that_fails_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    stream = DurableFileIO().new_output((tmp_path / "new" / "file").as_uri()).create()
    stream.write(b"data")
    monkeypatch.setattr(durable_io.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        stream.close()
    assert stream.closed
    stream.close()


def test_a_folder_that_a_failed_write_left_is_brought_to_the_disk_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    output = DurableFileIO().new_output((tmp_path / "new" / "day" / "file").as_uri())
    monkeypatch.setattr(durable_io.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        output.create()
    monkeypatch.setattr(durable_io.os, "fsync", note)
    output.create().close()

    assert {tmp_path.stat().st_ino, (tmp_path / "new").stat().st_ino, (tmp_path / "new" / "day").stat().st_ino} <= set(
        synced
    )


def test_a_file_that_exists_is_overwritten_only_on_demand(tmp_path: Path) -> None:
    output = DurableFileIO().new_output((tmp_path / "file").as_uri())
    with output.create() as stream:
        stream.write(b"first")
    with pytest.raises(FileExistsError):
        output.create()
    with output.create(overwrite=True) as stream:
        stream.write(b"2nd")
    assert (tmp_path / "file").read_bytes() == b"2nd"
