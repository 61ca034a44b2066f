"""A client without a server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from abplatform_sdk import Client
from abplatform_sdk._assignment import decode_snapshot, evaluate

from tests.sdk.snapshots import rule, snapshot

DOCUMENT = snapshot(other=rule(status="paused"))


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "document"])
def test_it_decides_from_the_snapshot_it_was_given(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(DOCUMENT))
    given: dict[str, Any] = {
        "path": file, "text": str(file), "bytes": file.read_bytes(), "document": DOCUMENT,
    }  # fmt: skip
    client = Client.from_snapshot(given[kind])
    held = decode_snapshot(DOCUMENT)
    for number in range(50):
        expected = evaluate(held, "rate-display", f"u-{number}")
        assert client.assign("rate-display", f"u-{number}").variant == expected.variant
    assert client.assign("other", "u-1").reason == "NOT_RUNNING"
    assert client.assign("none", "u-1", default=3).payload == 3
    assert client.wait_ready(0)
    stats = client.stats()
    assert (stats.snapshot_source, stats.snapshot_version) == ("given", 7)
    assert stats.reasons == {"offline": 50}
    client.close()


def test_there_is_nothing_to_wait_for() -> None:
    began = time.monotonic()
    client = Client.from_snapshot(DOCUMENT)
    assert client.wait_ready(30)
    client.close()
    assert client.wait_ready(30)
    closed = Client("http://127.0.0.1:9", "k", cache_dir=None)
    closed.close()
    assert not closed.wait_ready(30)
    assert time.monotonic() - began < 10


def test_it_has_no_thread_and_no_connection() -> None:
    client = Client.from_snapshot(DOCUMENT)
    client.assign("rate-display", "u-1")
    assert not client.track("purchase", "u-1")
    assert client.flush(0).complete
    assert client._connection._transport is None
    assert client._polling._thread is None
    client.close()


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^experiments: "):
        Client.from_snapshot({"schema_version": 1, "version": 1, "project": "p", "unit_type": "u"})
    with pytest.raises(ValueError, match=r"^document: is not valid JSON"):
        Client.from_snapshot(b"{")
    with pytest.raises(FileNotFoundError):
        Client.from_snapshot(tmp_path / "none.json")
