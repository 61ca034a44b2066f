"""Looks that take long: what they are computed from is still there when they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.bootstrap import Platform
from abplatform.database import reading
from abplatform.domain.aggregates import Aggregation, LakeState
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.holds import held_states, new_hold
from abplatform.warehouse.layout import KINDS
from abplatform.warehouse.tables import lease
from tests.warehouse.lakes import hence
from tests.warehouse.looking import a_platform, add_units, begin, forget, look, tend_all


class SlowEngine(DuckDBEngine):
    """DuckDB, and what happens while it computes."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__("256MB")
        self._meanwhile = meanwhile

    def aggregate(self, *asked: Any) -> Aggregation:
        """Answer late."""
        found = super().aggregate(*asked)
        self._meanwhile()
        return found


def holds(platform: Platform) -> list[str]:
    """What is held in any project."""
    with reading(platform.database) as connection:
        return [name for name in connection.execute(sa.select(lease.c.name)).scalars() if name.startswith("state:")]


def test_the_state_of_a_look_that_takes_an_hour_is_held_until_it_has_a_name(metadata_url: str, tmp_path: Path) -> None:
    with a_platform(tmp_path, metadata_url) as platform:
        begin(platform)
        add_units(platform, range(40))

        def an_hour_passes() -> None:
            add_units(platform, range(40, 60))
            tend_all(platform, now=hence(hours=1))
            assert len(holds(platform)) == 1

        first = look(replace(platform, engine=SlowEngine(an_hour_passes)))
        assert sum(first.health.units.values()) == 40
        assert holds(platform) == []
        with pytest.raises(ZeroDivisionError):
            look(replace(platform, engine=SlowEngine(lambda: 1 / 0)))
        assert holds(platform) == [], "a fault ends a hold too"
        tend_all(platform, now=hence(hours=1))
        forget(platform)
        assert platform.rerun("default", "rate-display", look=1).agrees


def test_holds_are_of_one_project_and_that_of_a_dead_process_ends_by_itself(metadata_url: str, tmp_path: Path) -> None:
    with a_platform(tmp_path, metadata_url) as platform:
        states = LakeState(exposures=7, conversions=None), LakeState(exposures=8, conversions=9)
        held, released = (new_hold(platform.database, "default", state) for state in states)
        other = new_hold(platform.database, "default2", LakeState(exposures=5, conversions=5))
        for hold in (held, released, other):
            hold.acquire()
        found = [held_states(platform.database, "default", kind, now=hence()) for kind in KINDS]
        assert dict(zip(KINDS, found, strict=True)) == {"exposure": {7, 8}, "conversion": {9}}
        released.release()
        assert held_states(platform.database, "default", "exposure", now=hence()) == {7}
        assert held_states(platform.database, "default", "exposure", now=hence(hours=25)) == frozenset()
        assert [name.split(":")[1] for name in holds(platform)] == ["default2"]
