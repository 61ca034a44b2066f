"""The short form of ``make chaos``: kills, power cuts, failing syncs and a full disk."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.chaos.row import Row
from tests.chaos.server import failing_disk, full_disk, kills, power_cut


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
