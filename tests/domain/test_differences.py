"""Which effects are found to differ: between slices, and with the variants of another experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.differences import Difference, find_differences
from abplatform.domain.interactions import cross
from tests.builders import a_metric, a_plan, an_experiment
from tests.domain.aggregations import a_rate, an_aggregation

ARMS = ("control", "treatment")
PURCHASE = a_metric()
DIMENSIONS = 40


def sliced(counts: dict[str, dict[str, tuple[int, int]]], units: int) -> Aggregation:
    """Conversions of both arms by dimension and slice, of so many units each."""
    slices = {
        dimension: tuple(
            a_rate(arm, units, converted, slice=name)
            for name, both in of_slices.items()
            for arm, converted in zip(ARMS, both, strict=True)
        )
        for dimension, of_slices in counts.items()
    }
    return an_aggregation(a_rate("control", 3 * units, 300), a_rate("treatment", 3 * units, 300), slices=slices)


def find(found: Aggregation, alpha: float = 0.05) -> tuple[Difference, ...]:
    return find_differences(an_experiment(plan=a_plan(alpha=alpha)), [PURCHASE], found)


def test_a_search_controls_false_discoveries_over_all_dimensions() -> None:
    """One dimension of forty differs: rates of 10%, 12% and 20% against 10%, elsewhere 12% against 10%."""
    rng = np.random.default_rng(5)
    base = rng.binomial(5000, 0.1, (DIMENSIONS, 3))
    rates = np.full((DIMENSIONS, 3), 0.12)
    rates[0] = 0.1, 0.12, 0.2
    treated = rng.binomial(5000, rates)
    counts = {
        f"d{number}": {f"s{group}": (int(base[number, group]), int(treated[number, group])) for group in range(3)}
        for number in range(DIMENSIONS)
    }
    found = find(sliced(counts, 5000))
    assert [each.dimension for each in found if each.found] == ["d0"]
    adjusted = np.array([each.adjusted_p_value for each in found], float)
    assert (adjusted >= np.array([each.p_value for each in found], float)).all()
    # By chance alone several would be found, were it not for the adjustment.
    assert sum((each.p_value or 1) < 0.05 for each in found) > 1


def test_a_p_value_of_exactly_alpha_is_no_finding() -> None:
    """As verdicts of scorecards have it."""
    data = sliced({"channel": {"app": (100, 150), "web": (100, 100)}}, 1000)
    (difference,) = find(data)
    assert difference.adjusted_p_value is not None
    assert (difference.found, find(data, difference.adjusted_p_value)[0].found) == (True, False)


def test_an_interaction_whose_p_value_is_exactly_alpha_is_not_found() -> None:
    cells = tuple(
        a_rate(arm, 1000, converted, slice=met)
        for met, both in zip(ARMS, ((100, 100), (100, 160)), strict=True)
        for arm, converted in zip(ARMS, both, strict=True)
    )
    data = an_aggregation(*(whole(cells, arm) for arm in ARMS), slices={"other": cells})
    others = {"other": an_experiment("other")}
    definition = an_experiment()
    (first,) = cross(definition, [PURCHASE], others, data)
    assert first.adjusted_p_value is not None
    at_alpha = replace(definition, plan=a_plan(alpha=first.adjusted_p_value))
    assert (first.found, cross(at_alpha, [PURCHASE], others, data)[0].found) == (True, False)


def whole(cells: tuple[ArmCell, ...], arm: str) -> ArmCell:
    mine = [cell for cell in cells if cell.variant == arm]
    return a_rate(arm, sum(cell.units for cell in mine), sum(cell.nonzero for cell in mine))
