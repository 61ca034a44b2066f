"""Who can be in an experiment: coverage, shared layers, holdouts."""

from __future__ import annotations

import re

import pytest

from abplatform.domain.life import Step
from abplatform.errors import (
    InvalidInput,
    LayerFull,
)
from abplatform.services import arrange, hold_out
from abplatform.storage.session import UnitOfWork
from tests.builders import (
    NOW,
    a_holdout,
    a_layer,
    an_experiment,
    later,
)
from tests.services.lives import lead, open_phase, published, ramp, take, variants_of


def test_a_ramp_lets_more_units_in_and_moves_nobody(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.1), "start")
    before = variants_of(uow)
    after = ramp(uow, 0.5)
    assert (after.slots, after.definition.coverage) == (((0, 500_000),), 0.5)
    now = variants_of(uow)
    in_before = {unit for unit, (reason, _) in before.items() if reason == "ASSIGNED"}
    in_now = {unit for unit, (reason, _) in now.items() if reason == "ASSIGNED"}
    # Of 2,000 units about 200, then 1,000; four standard deviations are 54 and 90.
    assert abs(len(in_before) - 200) < 54
    assert abs(len(in_now) - 1_000) < 90
    assert in_before < in_now
    assert all(before[unit] == now[unit] for unit in in_before)


def test_a_ramp_that_adds_nothing_names_the_coverage(uow: UnitOfWork) -> None:
    lead(uow, an_experiment(coverage=0.5), "start")
    for coverage in (0.5, 0.5000001, 0.1, 0, -1, 1.5, float("nan"), float("inf")):
        with pytest.raises(InvalidInput) as refusal:
            ramp(uow, coverage)
        assert list(refusal.value.errors) == ["coverage"]
    assert published(uow)["version"] == 1


def test_experiments_of_a_layer_share_out_its_slots(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        layer = arrange.create_layer(work, "default", a_layer(), now=NOW)
    first = lead(uow, an_experiment("first", layer="home-page", coverage=0.3), "start")
    second = lead(uow, an_experiment("second", layer="home-page", coverage=0.2), "start")
    alone = lead(uow, an_experiment("alone", coverage=0.2), "start")
    assert (first.slots, second.slots) == (((0, 300_000),), ((300_000, 500_000),))
    assert first.layer_salt == second.layer_salt == layer.salt != alone.layer_salt
    assert alone.slots == ((0, 200_000),), "a layer of its own"
    first = ramp(uow, 0.4, "first")
    assert first.slots == ((0, 300_000), (500_000, 600_000))
    with uow.begin() as work:
        take(work, "first", "stop")
    third = lead(uow, an_experiment("third", layer="home-page", coverage=0.7), "start")
    assert third.slots == ((0, 300_000), (500_000, 900_000)), "the lowest free ones, in several ranges"
    entered = {
        key: {unit for unit, (reason, _) in variants_of(uow, key).items() if reason == "ASSIGNED"}
        for key in ("second", "third")
    }
    assert min(len(units) for units in entered.values()) > 300
    assert not entered["second"] & entered["third"]


@pytest.mark.parametrize("step", ["pause", "close"])
def test_slots_are_held_while_paused_and_closed(uow: UnitOfWork, step: Step) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    lead(uow, an_experiment("first", layer="home-page", coverage=0.6), "start", step)
    lead(uow, an_experiment("second", layer="home-page", coverage=0.5))
    sentence = "second asks for 50% of the layer home-page, which has 40% free (first holds 60%); lower the coverage"
    with pytest.raises(LayerFull, match=re.escape(sentence)), uow.begin() as work:
        take(work, "second", "start")
    with uow.begin() as work:
        take(work, "first", "decide")
        assert take(work, "second", "start").slots == ((0, 500_000),)


def test_a_layer_that_many_hold_names_the_largest_of_them(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    for number in range(7):
        lead(uow, an_experiment(f"e-{number}", layer="home-page", coverage=0.05 + number * 0.02), "start")
    lead(uow, an_experiment("late", layer="home-page", coverage=0.234567))
    sentence = (
        "late asks for 23.4567% of the layer home-page, which has 23% free (e-6 holds 17%, e-5 holds 15%, "
        "e-4 holds 13%, e-3 holds 11%, e-2 holds 9%, 2 others hold 12%); lower"
    )
    with pytest.raises(LayerFull, match=re.escape(sentence)), uow.begin() as work:
        take(work, "late", "start")


def test_a_full_layer_refuses_ramps_and_phases_and_changes_nothing(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
    lead(uow, an_experiment("first", layer="home-page", coverage=0.6), "start")
    before = lead(uow, an_experiment("second", layer="home-page", coverage=0.3), "start")
    version = published(uow)["version"]
    with pytest.raises(LayerFull, match=r"asks for 20% more of .* has 10% free \(first holds 60%\)"):
        ramp(uow, 0.5, "second")
    with pytest.raises(LayerFull, match=r"asks for 50% of .* has 40% free \(first holds 60%\)"):
        open_phase(uow, "second", coverage=0.5)
    with uow.reading() as work:
        assert work.experiments.get("default", "second") == before
    assert published(uow)["version"] == version
    assert open_phase(uow, "second", coverage=0.4).slots == ((600_000, 1_000_000),), "its own slots are free for it"


def test_the_start_takes_the_holdouts_that_cover_it_then_oldest_first(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        arrange.create_layer(work, "default", a_layer(), now=NOW)
        arrange.create_layer(work, "default", a_layer("other"), now=NOW)
        holdouts = [
            a_holdout("newest"),
            a_holdout("of-the-layer", layers=("home-page", "other")),
            a_holdout("of-another", layers=("other",)),
            a_holdout("of-devices", unit_type="device_id"),
            a_holdout("ended"),
            a_holdout("oldest"),
        ]
        for age, holdout in enumerate(holdouts):
            hold_out.create_holdout(work, "default", holdout, now=later(hours=-age))
        hold_out.end_holdout(work, "default", "ended", now=NOW)
    assert lead(uow, an_experiment("a", layer="home-page"), "start").holdouts == ("oldest", "of-the-layer", "newest")
    assert lead(uow, an_experiment("b"), "start").holdouts == ("oldest", "newest")
    assert lead(uow, an_experiment("c", unit_type="device_id"), "start").holdouts == ("of-devices",)
    with uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout("later"), now=NOW)
    assert open_phase(uow, "b").holdouts == ("oldest", "newest"), "fixed at the start"


def test_the_end_of_a_holdout_is_published(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout(share=0.5), now=NOW)
    lead(uow, an_experiment(), "start")
    assert {reason for reason, _ in variants_of(uow).values()} == {"ASSIGNED", "HOLDOUT"}
    before = published(uow)["version"]
    with uow.begin() as work:
        hold_out.end_holdout(work, "default", "q3", now=NOW)
    document = published(uow)
    assert document["version"] == before + 1
    assert "holdouts" not in document
    assert "holdouts" not in document["experiments"]["rate-display"]
    assert {reason for reason, _ in variants_of(uow).values()} == {"ASSIGNED"}
