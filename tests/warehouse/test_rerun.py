"""Looks computed again from what they were computed from, in a real lake on both databases, by every engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform import __version__
from abplatform.bootstrap import Platform
from abplatform.database import transaction
from abplatform.domain.aggregates import LakeState
from abplatform.domain.metric import LONGEST_WINDOW, Window
from abplatform.errors import InvalidInput, NotAnalysable, NotFound, SnapshotExpired
from abplatform.services.rerun import rerun
from abplatform.storage.schema import look as table
from abplatform.warehouse.engines import Engine
from tests.builders import an_experiment, later
from tests.warehouse.looking import (
    DEFINITION,
    REVENUE,
    SETTINGS,
    CountingEngine,
    a_platform,
    add_units,
    begin,
    forget,
    look,
    names,
    step,
    tend_all,
)

FIRST, MORE = range(40), range(40, 60)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform with a running experiment and forty units."""
    with a_platform(tmp_path) as platform:
        begin(platform)
        add_units(platform, FIRST)
        yield platform


@pytest.fixture
def on_each_database(metadata_url: str, tmp_path: Path) -> Iterator[Platform]:
    """The same on a database of either kind."""
    with a_platform(tmp_path, metadata_url) as platform:
        begin(platform)
        add_units(platform, FIRST)
        yield platform


def counting(platform: Platform) -> tuple[Platform, CountingEngine]:
    engine = CountingEngine("256MB")
    return replace(platform, engine=engine), engine


def test_a_look_says_what_it_was_computed_from(
    on_each_database: Platform,
) -> None:
    platform = on_each_database
    found = look(platform)
    state = platform.lake.state("default")
    assert found.cut_off is not None
    assert (found.cut_off.exposures, found.cut_off.conversions) == (str(state.exposures), str(state.conversions))
    assert (found.cut_off.as_of, found.cut_off.version) == (found.computed_at, __version__)
    assert found.cut_off.engine.startswith("duckdb 1.")
    assert platform.looks("default", "rate-display") == (found,)


def test_without_a_table_there_is_no_state_of_it(tmp_path: Path) -> None:
    with a_platform(tmp_path) as platform:
        begin(platform)
        found = look(platform)
        assert found.cut_off is not None
        assert (found.cut_off.exposures, found.cut_off.conversions) == (None, None)
        add_units(platform, FIRST)
        again = platform.rerun("default", "rate-display", look=1)
    assert again.agrees
    assert sum(again.now.aggregation.exposed.values()) == 0, "the events came later"


def test_exposures_and_conversions_are_each_of_the_state_that_was_asked_for(platform: Platform) -> None:
    look(platform)
    add_units(platform, MORE)
    with platform.uow.reading() as work:
        evidence = work.looks.get("default", "rate-display", 1, 1).evidence
    assert evidence is not None
    assert evidence.request.state is not None
    exposures, before = platform.lake.state("default").exposures, evidence.request.state.conversions
    mixed = replace(evidence.request, state=LakeState(exposures=exposures, conversions=before))
    found = platform.engine.aggregate(platform.lake, mixed)
    assert sum(found.exposed.values()) == 60
    assert sum(cell.total for cell in found.cells) == sum(cell.total for cell in evidence.aggregation.cells)


@pytest.mark.parametrize("each_engine", ["engine", "spark_on_threads"], indirect=True)
def test_a_look_is_the_same_again_after_more_events_compaction_and_expiry(
    platform: Platform, each_engine: Engine
) -> None:
    first = look(platform)
    tend_all(platform)
    add_units(platform, MORE)
    forget(platform)
    assert look(platform).health.units == {"control": 30, "treatment": 30}
    found = rerun(platform.uow, each_engine, platform.lake, "default", "rate-display", look=1)
    assert found.agrees, [number for number in found.numbers if not number.agrees]
    assert found.now.engine == each_engine.version
    # By hand: the even units are in control; sum of n/8 over the odd ones below 40 is 400/8.
    numbers = {number.name: number.now for number in found.numbers}
    assert (numbers["analysed.control"], numbers["revenue.treatment.total"]) == (20, 50)
    assert numbers["revenue.treatment.before_m2"] != 0
    assert found.was.cut_off == first.cut_off


def test_a_look_is_computed_as_the_experiment_was_then(platform: Platform) -> None:
    look(platform)
    step(platform, "phase", now=later(days=1))
    step(platform, "stop", now=later(days=2))
    found = platform.rerun("default", "rate-display", look=1, phase=1)
    assert found.agrees
    assert found.now.request.until is None
    with pytest.raises(NotFound, match="no look in phase 2"):
        platform.rerun("default", "rate-display", look=1)
    with pytest.raises(InvalidInput, match="phase"):
        platform.rerun("default", "rate-display", look=1, phase=3)
    with pytest.raises(NotFound, match="nothing"):
        platform.rerun("default", "nothing", look=1)


def test_a_number_that_differs_is_named(platform: Platform) -> None:
    look(platform)
    with transaction(platform.database) as connection:
        stored = json.loads(connection.scalar(sa.select(table.c.aggregation)) or "")
        stored["analysed"]["control"] += 1
        connection.execute(sa.update(table).values(aggregation=json.dumps(stored)))
    found = platform.rerun("default", "rate-display", look=1)
    assert not found.agrees
    assert [(each.name, each.was, each.now) for each in found.numbers if not each.agrees] == [
        ("analysed.control", 21, 20)
    ]


def test_a_look_whose_state_is_gone_says_so_and_stands(platform: Platform) -> None:
    first = look(platform)
    add_units(platform, MORE)
    look(platform)
    tend_all(platform)
    forget(platform)
    with pytest.raises(SnapshotExpired, match=r"look 1 of phase 1 of rate-display cannot be computed again.*readout"):
        platform.rerun("default", "rate-display", look=1)
    assert platform.rerun("default", "rate-display", look=2).agrees, "the latest look is kept"
    assert platform.looks("default", "rate-display")[0] == first


def test_after_the_events_were_deleted_a_look_cannot_be_computed_again(platform: Platform) -> None:
    look(platform)
    platform.lake.delete_experiment("default", "rate-display")
    assert platform.rerun("default", "rate-display", look=1).agrees, "until expiry comes"
    forget(platform)
    with pytest.raises(SnapshotExpired, match="no longer keeps its state"):
        platform.rerun("default", "rate-display", look=1)


def test_a_look_from_before_there_were_cut_offs_is_no_error_of_its_own(platform: Platform) -> None:
    look(platform)
    nothing = dict.fromkeys(
        ("exposures_state", "conversions_state", "as_of", "engine", "version", "request", "aggregation")
    )
    with transaction(platform.database) as connection:
        connection.execute(sa.update(table).values(nothing))
    with pytest.raises(NotAnalysable, match="did not record"):
        platform.rerun("default", "rate-display", look=1)
    found = look(platform)
    assert (found.look, found.cut_off) == (1, None)


def test_nothing_is_computed_twice_from_the_same(platform: Platform) -> None:
    platform, engine = counting(platform)
    first = look(platform)
    assert look(platform) == first
    explored = look(platform, method="fixed")
    assert (engine.asked, explored.cut_off) == (1, first.cut_off)
    assert look(platform, anew=True) == first
    assert engine.asked == 2
    add_units(platform, MORE)
    assert look(platform).look == 2
    step(platform, "stop", now=later(days=9))
    assert (look(platform).look, engine.asked) == (3, 4)


def test_a_look_with_open_windows_is_computed_again(platform: Platform) -> None:
    patient = replace(REVENUE, key="patient", window=Window(end=LONGEST_WINDOW))
    uses = (replace(DEFINITION.metrics[0], metric="patient"),)
    begin(platform, an_experiment("slow", metrics=uses), metrics=(patient,))
    add_units(platform, FIRST, "slow")
    platform, engine = counting(platform)
    looks = [look(platform, "slow"), look(platform, "slow")]
    assert [found.look for found in looks] == [1, 1]
    assert engine.asked == 2


def test_the_latest_look_and_those_behind_decisions_have_names_until_the_archive(
    on_each_database: Platform,
) -> None:
    platform = on_each_database
    look(platform)
    assert [done and done.named for done in tend_all(platform)] == [True, True]
    assert names(platform) == [{"look-rate-display-1-1"}] * 2
    step(platform, "decide", now=later(days=1))
    add_units(platform, MORE)
    assert look(platform).look == 2
    assert look(platform).decision_taken is not None
    # A crash right after the decision loses no name: it follows from what is stored.
    tend_all(platform)
    assert names(platform) == [{"look-rate-display-1-1", "look-rate-display-1-2"}] * 2
    assert [done and done.named for done in tend_all(platform)] == [False, False]
    forget(platform)
    assert platform.rerun("default", "rate-display", look=1).agrees
    step(platform, "archive")
    tend_all(platform)
    assert names(platform) == [set(), set()]
    forget(platform)
    with pytest.raises(SnapshotExpired):
        platform.rerun("default", "rate-display", look=1)


def test_a_decision_names_the_latest_look_of_its_phase(platform: Platform) -> None:
    look(platform)
    add_units(platform, MORE)
    assert look(platform).look == 2
    step(platform, "decide")
    begin(platform, an_experiment("unseen", metrics=DEFINITION.metrics), "start", "decide")
    with platform.uow.reading() as work:
        decisions = [work.experiments.get("default", key).decision for key in ("rate-display", "unseen")]
    assert [(each.phase, each.look) for each in decisions if each is not None] == [(1, 2), (None, None)]


def test_names_of_others_stay(platform: Platform) -> None:
    state = platform.lake.state("default").exposures
    assert state is not None
    platform.lake.tag("default", "exposure", "audit-2026", state)
    look(platform)
    tend_all(platform)
    assert names(platform)[0] == {"audit-2026", "look-rate-display-1-1"}


def test_retention_goes_before_names(platform: Platform) -> None:
    look(platform)
    tend_all(platform)
    assert names(platform) == [{"look-rate-display-1-1"}] * 2
    short = replace(SETTINGS, max_event_age_days=1, retention_days=1)
    tend_all(platform, short, now=later(days=30))
    assert names(platform) == [set(), set()]
    forget(platform)
    with pytest.raises(SnapshotExpired):
        platform.rerun("default", "rate-display", look=1)
