"""Which differences between two computations count: none of counts and sums, 1e-12 of moments."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import BelowCuts, Denominator
from abplatform.domain.reproduction import compare
from tests.builders import later
from tests.domain.aggregations import a_rate, an_aggregation

CELL = a_rate("control", 1000, 100, before_mean=2.5, before_m2=400.0, before_c=1e-6)
COVARIATE = a_rate("control", 1000, 100, name="age", total=Decimal("31.4159265358979"), slice="web")
FOUND = an_aggregation(CELL, covariates=(COVARIATE,), data_through=later(), earlier_phase_units=3)


def differing(now: Aggregation) -> list[str]:
    return [number.name for number in compare(FOUND, now) if number.agrees is False]


def test_the_same_agrees_in_every_number() -> None:
    numbers = {number.name: number.now for number in compare(FOUND, FOUND)}
    assert differing(FOUND) == []
    assert (numbers["exposed.control"], numbers["earlier_phase_units"]) == (1000, 3)
    assert (numbers["purchase.control.m2"], numbers["age.control.web.total"]) == (CELL.m2, COVARIATE.total)
    assert "purchase.control.clusters" not in numbers, "it is not clustered"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"units": 1001}, "units"),
        ({"open_units": 1}, "open_units"),
        ({"nonzero": 99}, "nonzero"),
        ({"total": CELL.total + Decimal("0.000001")}, "total"),
        ({"m2": CELL.m2 * (1 + 1e-11)}, "m2"),
        ({"before_m2": 400 * (1 - 1e-11)}, "before_m2"),
        # The product of the two standard deviations, not the covariance itself, is what its digits are of.
        ({"before_c": 1e-6 + 1e-9}, "before_c"),
    ],
)
def test_a_number_that_differs_by_more_is_named(changes: dict[str, float], name: str) -> None:
    assert differing(replace(FOUND, cells=(replace(CELL, **changes),))) == [f"purchase.control.{name}"]  # type: ignore[arg-type]


def test_moments_may_differ_in_their_last_digits() -> None:
    shaken = replace(CELL, m2=CELL.m2 * (1 + 1e-13), mean=CELL.mean * (1 - 1e-13), before_c=1e-6 + 1e-10)
    age = replace(COVARIATE, total=COVARIATE.total * (1 + Decimal("1e-13")))
    assert differing(replace(FOUND, cells=(shaken,), covariates=(age,))) == []


def test_parts_of_a_cell_are_compared_number_by_number() -> None:
    below = BelowCuts(cuts=(1.0, 2.0), members=3, mean_d=1.0, m2_d=0.0, mean_y=(0.5, 1.0), m2_y=(0.5, 0), c_yd=(0.1, 0))
    parts = Denominator(total=Decimal(7), mean=0.5, m2=4.0, product=1e-9)
    was = replace(CELL, steps=(100, 50), below=below, denominator=parts, m3=1e-10)

    def named(**changes: Any) -> list[str]:
        now = replace(FOUND, cells=(replace(was, **changes),))
        return [number.name for number in compare(replace(FOUND, cells=(was,)), now) if number.agrees is False]

    assert named() == []
    assert named(steps=(100, 51)) == ["purchase.control.steps.1"]
    assert named(below=replace(below, mean_y=(0.5 + 1e-9, 1.0))) == ["purchase.control.below.mean_y.0"]
    assert named(denominator=replace(parts, total=Decimal(8))) == ["purchase.control.denominator.total"]
    # A sum of cubes, or of products, near zero has the digits of what was added up.
    assert named(m3=-1e-10, denominator=replace(parts, product=-1e-12)) == ["purchase.control.denominator.product"]
    assert named(m3=1e-6) == ["purchase.control.m3"]


def test_counts_of_units_and_the_latest_receipt_are_compared_too() -> None:
    other = replace(FOUND, analysed={"control": 999}, unknown_variants={"x": 1}, data_through=None)
    assert differing(other) == ["analysed.control", "data_through", "unknown_variants.x"]


def test_a_cell_that_is_no_longer_there_differs_in_every_number() -> None:
    gone = [number for number in compare(FOUND, replace(FOUND, covariates=())) if number.agrees is False]
    assert {number.now for number in gone} == {None}
    assert len(gone) == 6


def test_what_a_look_did_not_record_yet_is_no_difference() -> None:
    """As in looks from before sums of cubes were kept, and which clusters have a value."""
    treated = replace(CELL, variant="treatment")
    now = replace(FOUND, cells=tuple(replace(cell, m3=5.0, cluster_nonzero=7) for cell in (CELL, treated)))
    numbers = compare(replace(FOUND, cells=(CELL, treated)), now)
    unknown = [(number.name, number.was, number.now) for number in numbers if number.agrees is None]
    assert unknown == [
        (f"purchase.{variant}.{name}", None, value)
        for variant in ("control", "treatment")
        for name, value in (("cluster_nonzero", 7), ("m3", 5.0))
    ]
    assert all(number.agrees for number in numbers if number.agrees is not None)


def test_a_number_that_one_cell_had_and_another_had_not_differs() -> None:
    """Nor is it excused when the other way round, or when the whole cell is new: versions do not explain that."""
    whole, lacking = replace(CELL, m3=5.0), replace(CELL, variant="treatment")
    was = replace(FOUND, cells=(whole, lacking))
    (wrong,) = (each for each in compare(was, replace(was, cells=(whole, replace(lacking, m3=5.0)))) if not each.agrees)
    assert (wrong.name, wrong.agrees) == ("purchase.treatment.m3", False)
    assert [each.agrees for each in compare(was, replace(was, cells=(CELL, lacking))) if not each.agrees] == [False]
    new = [each for each in compare(FOUND, was) if each.name.startswith("purchase.treatment.")]
    assert {each.agrees for each in new} == {False}
    steps = replace(FOUND, cells=(replace(CELL, steps=(9,)),))
    longer = compare(steps, replace(FOUND, cells=(replace(CELL, steps=(9, 8)),)))
    assert [(each.name, each.agrees) for each in longer if not each.agrees] == [("purchase.control.steps.1", False)]
