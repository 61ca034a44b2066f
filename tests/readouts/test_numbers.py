"""Numbers for people: expected texts are written by hand."""

from __future__ import annotations

import pytest

from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.106167, "10.62%"), (0.005726, "0.573%"), (0.0, "0.00%"), (1.0, "100.00%"), (0.00000004, "4.00e-06%")],
)
def test_rate_is_a_percentage(value: float, text: str) -> None:
    assert numbers.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567.891, "1,234,567.89"), (0.652789, "0.6528"), (0.0, "0.00"), (-12.5, "−12.50"), (0.00001, "1.00e-05")],
)
def test_amount_has_separators_and_four_digits(value: float, text: str) -> None:
    assert numbers.amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.7214, "+72.1%"), (-0.0311, "−3.11%"), (12.4, "+1,240%"), (0.0, "+0%"), (0.00123, "+0.123%")]
)
def test_lift_is_signed(value: float, text: str) -> None:
    assert numbers.lift(value) == text


def test_difference_of_rates_is_in_points() -> None:
    assert numbers.points(-0.07659) == "−7.66 pp"


def test_p_value_and_chance_are_never_rounded_to_certainty() -> None:
    assert numbers.p_value(1e-300) == "<0.0001"
    assert numbers.p_value(0.0312) == "0.0312"
    assert numbers.chance(0.99999) == ">99.9%"
    assert numbers.chance(0.0) == "<0.1%"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(value: float | None) -> None:
    assert {write(value) for write in (numbers.rate, numbers.lift, numbers.points, numbers.amount)} == {"–"}


def test_unbounded_sides_are_infinite() -> None:
    half = Interval(estimate=0.1, lower=None, upper=0.2)
    assert numbers.bounds(half, kind="lift") == "[−∞, +20.0%]"
    assert numbers.bounds(Interval(estimate=0.1, lower=0.01, upper=None), kind="points") == "[+1.00, +∞]"
    assert numbers.bounds(Interval(estimate=1.0, lower=-1.0, upper=3.0), kind="amount") == "[−1.000, +3.000]"
