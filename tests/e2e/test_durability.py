"""The short form of ``make chaos``: kills, power cuts, failing syncs and a full disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pytest

from abplatform.api.events import open_intake
from abplatform.bootstrap import build_platform, prepare_database
from abplatform.settings import Settings
from tests.chaos.row import Row
from tests.chaos.server import failing_disk, full_disk, kills, power_cut
from tests.chaos.server.audit import Counts, audit
from tests.chaos.server.ledger import Ledger


def missed(rows: Iterable[Row]) -> list[str]:
    """Rows that do not hold. How long a start takes (D-3) is for a quiet machine: ``make chaos`` looks at it."""
    return [str(row) for row in rows if not row.holds and row.id != "D-3"]


def test_kills_under_load_lose_and_repeat_nothing() -> None:
    assert missed(kills.kill_often("sqlite", kills=2)) == []


@pytest.mark.usefixtures("compiler")
def test_a_power_cut_under_load_loses_and_repeats_nothing() -> None:
    assert missed(power_cut.cut_often(1)) == []


@pytest.mark.usefixtures("compiler")
def test_failing_syncs_and_a_power_cut_lose_and_repeat_nothing() -> None:
    assert missed(failing_disk.fail_often(1, seconds=0.5)) == []


@pytest.mark.usefixtures("compiler")
def test_a_full_disk_is_told_definitions_and_the_last_look_are_read_and_room_heals() -> None:
    assert missed(full_disk.fill_simulated(times=1, seconds=1)) == []


def test_an_audit_fails_where_a_file_of_the_lake_is_lost(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, pseudonym_key="a pseudonym key for tests, 32+ characters")
    prepare_database(settings)
    with build_platform(settings) as platform:
        now = platform.now()
        event = {"event_id": "a", "event": "x", "unit_id": "u", "timestamp": now.isoformat()}
        body = json.dumps({"events": [event]}).encode()
        open_intake(platform).take_conversions("default", body, received_at=now)
        platform.seal("default")
        (file,) = platform.lake.files("default", "conversion")
    nobody_sent_it = Ledger(variant_of=lambda _: "control")
    assert audit(settings, nobody_sent_it, "conversion", {"a"}) == Counts(1, 0, 0, 1, 0)

    Path(file.path).unlink()
    with pytest.raises(duckdb.IOException, match="No files found"):
        audit(settings, nobody_sent_it, "conversion", {"a"})
