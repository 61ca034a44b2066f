"""The disk copy answers when a process starts while the server is down."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from abplatform_sdk import Client
from abplatform_sdk.snapshot import DiskCopy

from tests.sdk import server as faults
from tests.sdk.server import KEY, PlatformServer
from tests.sdk.snapshots import rule, snapshot

UNITS = [f"u-{number}" for number in range(100)]


@pytest.fixture
def copy(make_client: Callable[..., Client], server: PlatformServer, tmp_path: Path) -> Path:
    """The disk copy that a first process left behind."""
    client = make_client(cache_dir=tmp_path / "cache")
    assert client.wait_ready(5)
    client.close(1)
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_a_cold_start_without_the_server_decides_from_the_disk_copy(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    from_server = make_client()
    from_server.wait_ready(5)
    expected = [from_server.evaluate("rate-display", unit) for unit in UNITS]
    server.stop()
    client = make_client(cache_dir=copy.parent)
    assert [client.evaluate("rate-display", unit) for unit in UNITS] == expected
    assert client.wait_ready(0.2)
    stats = client.stats()
    assert (stats.snapshot_source, stats.snapshot_version, stats.snapshot_age) == ("disk", 7, None)


def test_the_server_replaces_the_disk_copy(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.snapshot = snapshot(8, rate_display=rule(status="paused"))
    answered = threading.Event()

    def late(handler: faults.Handler) -> None:
        # On a busy machine the server could answer before the first decision.
        answered.wait(5)
        server.answer(server.sent(faults.SNAPSHOT)[-1], handler)

    server.next_answers[faults.SNAPSHOT].append(late)
    client = make_client(cache_dir=copy.parent)
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"
    answered.set()
    assert client.wait_ready(5)
    assert client.evaluate("rate-display", "u-1").reason == "NOT_RUNNING"
    client.close(1)
    server.stop()
    assert make_client(cache_dir=copy.parent).stats().snapshot_version == 8


def test_a_server_with_an_older_version_does_not_replace_the_disk_copy(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    before = copy.read_bytes()
    server.snapshot = snapshot(6)
    client = make_client(cache_dir=copy.parent)
    client.evaluate("rate-display", "u-1")
    eventually(lambda: client.stats().poll_failures > 0)
    assert client.stats().snapshot_version == 7
    assert copy.read_bytes() == before


def test_a_poll_under_way_at_close_changes_neither_the_answers_nor_the_disk_copy(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    before = copy.read_bytes()
    client = make_client(cache_dir=copy.parent, poll_interval=0.05, read_timeout=5.0)
    assert client.wait_ready(5)
    answered, asked, closed = threading.Event(), threading.Event(), threading.Event()

    def late(handler: faults.Handler) -> None:
        asked.set()
        closed.wait(5)
        server.answer(server.sent(faults.SNAPSHOT)[-1], handler)
        answered.set()

    server.next_answers[faults.SNAPSHOT].append(late)
    assert asked.wait(5)
    server.snapshot = snapshot(8, rate_display=rule(status="paused"))
    (thread,) = (each for each in threading.enumerate() if each is client._polling._thread)
    client.close(1)
    closed.set()
    assert answered.wait(5)
    thread.join(5)
    assert not thread.is_alive()
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"
    assert client.evaluate_all("u-1")["rate-display"].reason == "ASSIGNED"
    assert client.stats().snapshot_version == 7
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]
    assert caplog.records == []


def test_only_the_owner_can_read_the_copy_and_its_name_tells_nothing(copy: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert KEY not in copy.name
    assert KEY.encode() not in copy.read_bytes()


def test_the_copy_of_another_key_or_server_is_not_used(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.stop()
    other_server = make_client(url=server.url + "/prefix", cache_dir=copy.parent)
    assert other_server.evaluate("rate-display", "u-1").reason == "NOT_READY"
    other_key = Client(server.url, "other-key", cache_dir=copy.parent)
    assert other_key.evaluate("rate-display", "u-1").reason == "NOT_READY"
    other_key.close(0)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "without its seal": lambda content: content.partition(b"\n")[2],
    "one digit changed": lambda content: content.replace(b"500000", b"400000"),
    "random": lambda content: bytes(range(256)) * 10,
    "a foreign snapshot": lambda content: content.partition(b"\n")[0] + b"\n" + json.dumps(snapshot(99)).encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_counted_and_not_used(
    copy: Path, server: PlatformServer, make_client: Callable[..., Client], damage: str
) -> None:
    copy.write_bytes(DAMAGES[damage](copy.read_bytes()))
    server.answers[faults.SNAPSHOT] = faults.problem(503)
    client = make_client(cache_dir=copy.parent)
    assert client.evaluate("rate-display", "u-1").reason == "NOT_READY"
    assert client.stats().cache_failures == 1
    del server.answers[faults.SNAPSHOT]
    assert client.wait_ready(5)
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"


def test_a_sealed_copy_that_is_no_snapshot_is_counted_and_not_used(
    server: PlatformServer, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    DiskCopy(tmp_path, base_url=server.url, api_key=KEY).write(b"[]")
    server.stop()
    client = make_client(cache_dir=tmp_path)
    assert client.evaluate("rate-display", "u-1").reason == "NOT_READY"
    assert client.stats().cache_failures == 1


def test_a_directory_that_cannot_be_used_is_counted_and_changes_nothing(
    server: PlatformServer, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    # A file where the directory should be: root, too, cannot write there.
    (tmp_path / "cache").write_text("not a directory")
    client = make_client(cache_dir=tmp_path / "cache")
    assert client.wait_ready(5)
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"
    assert client.stats().cache_failures >= 1


def test_nothing_is_written_where_the_copy_is_turned_off(
    server: PlatformServer, make_client: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert make_client(cache_dir=None).wait_ready(5)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_former_copy_and_no_litter(tmp_path: Path) -> None:
    disk = DiskCopy(tmp_path, base_url="http://a", api_key="k")
    disk.write(b"first")
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        disk.write(b"second")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_half_written_is_removed_and_what_another_writes_now_is_not(
    copy: Path, server: PlatformServer
) -> None:
    old, new = (copy.with_name(f".{copy.name}-{end}") for end in ("old", "new"))
    others = copy.with_name(".snapshot-of-the-product")
    for path in (old, new, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (time.time() - 7200,) * 2)
    DiskCopy(copy.parent, base_url=server.url, api_key=KEY).write(b"whole")
    assert set(copy.parent.iterdir()) == {copy, new, others}


def test_a_server_without_etags_does_not_make_each_look_take_the_snapshot_again(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None], tmp_path: Path
) -> None:
    server.answers[faults.SNAPSHOT] = faults.body(json.dumps(snapshot()).encode())
    client = make_client(cache_dir=tmp_path)
    assert client.wait_ready(5)
    eventually(lambda: list(tmp_path.glob("snapshot-*")))
    held, (path,) = client._store.current, tmp_path.iterdir()
    written = path.stat().st_ino
    eventually(lambda: len(server.sent(faults.SNAPSHOT)) > 4)
    assert client._store.current is held
    assert path.stat().st_ino == written
    server.answers[faults.SNAPSHOT] = faults.body(json.dumps(snapshot(8)).encode())
    eventually(lambda: client.stats().snapshot_version == 8)
    assert client.stats().poll_failures == 0
