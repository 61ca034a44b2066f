"""Cost per acquisition from counts: plain divisions, bounds turned upside down, channels as one."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from abplatform.domain.acquisition import Arm, Arms, ChannelCost, CostMethod, name_channel, price_channels
from abplatform.domain.scorecard import Interval
from abplatform.stats import ProportionStats, fixed, sequential
from tests.builders import a_metric, a_plan, an_experiment

OPENED = a_metric("account-opened")
PLAN = an_experiment(plan=a_plan(planned_units=4_000, cuped=True))
DOUYIN: Arms = {"control": Arm(1_000, 200, 100), "treatment": Arm(1_000, 300, 125)}
WECHAT: Arms = {"control": Arm(800, 0, 40), "treatment": Arm(700, 0, 70)}
CHANNELS = {"douyin": DOUYIN, "wechat": WECHAT, "organic": {"control": Arm(9, 0, 9), "treatment": Arm(9, 0, 9)}}
COSTS = {"douyin": Decimal("120000.10"), "wechat": Decimal("30000")}


def price(channels: dict[str, Arms], costs: dict[str, Decimal], method: CostMethod = "fixed") -> list[ChannelCost]:
    return list(price_channels(PLAN, OPENED, channels, costs, method=method))


def bounds(interval: Interval) -> tuple[float | None, float | None]:
    return interval.lower, interval.upper


def test_the_cost_of_a_channel_is_shared_over_all_its_units_and_divided_by_the_rate_of_a_variant() -> None:
    douyin, wechat, _ = price(CHANNELS, COSTS)
    # 120,000.10 over 2,500 units; of the control 10% of those whose window has closed are won, of the treatment 12.5%.
    assert (douyin.cost, douyin.units, douyin.cost_per_unit) == ("120000.1", 2_500, pytest.approx(48.00004))
    assert [each.cost.estimate for each in douyin.variants] == [pytest.approx(480.0004), pytest.approx(384.00032)]
    assert [each.open_units for each in douyin.variants] == [200, 300]
    # 30,000 over 1,500 units at 5% and 10%.
    assert [each.cost.estimate for each in wechat.variants] == [pytest.approx(400), pytest.approx(200)]


def test_bounds_of_the_cost_are_those_of_the_rate_upside_down() -> None:
    douyin, *_ = price(CHANNELS, COSTS)
    low, high = proportion_confint(100, 1_000, alpha=0.05, method="wilson")  # statsmodels
    control = douyin.variants[0]
    assert bounds(control.rate) == (pytest.approx(low), pytest.approx(high))
    assert bounds(control.cost) == (pytest.approx(48.00004 / high), pytest.approx(48.00004 / low))


def test_intervals_that_may_be_watched_come_from_a_confidence_sequence() -> None:
    douyin, *_ = price(CHANNELS, COSTS, "sequential")
    rate = sequential.rate_interval(ProportionStats(1_000, 125), alpha=0.05)
    assert bounds(douyin.variants[1].cost) == (
        pytest.approx(48.00004 / float(rate.upper)),
        pytest.approx(48.00004 / float(rate.lower)),
    )
    lift = sequential.compare(ProportionStats(1_000, 125), ProportionStats(1_000, 100), planned_units=4_000).cell()
    assert lift.relative.lower is not None
    assert lift.relative.upper is not None
    (ratio,) = douyin.ratios
    assert bounds(ratio.ratio) == (
        pytest.approx(1 / (1 + lift.relative.upper)),
        pytest.approx(1 / (1 + lift.relative.lower)),
    )


def test_the_ratio_of_two_costs_is_that_of_the_rates_upside_down() -> None:
    douyin, *_ = price(CHANNELS, COSTS)
    (ratio,) = douyin.ratios
    assert (ratio.variant, ratio.control, ratio.ratio.estimate) == ("treatment", "control", pytest.approx(100 / 125))
    # Fieller's bounds of 125/1,000 over 100/1,000, from the quadratic (t - r c)^2 = z^2 (vt + r^2 vc).
    vt, vc, z2 = 0.125 * 0.875 / 1_000, 0.1 * 0.9 / 1_000, 1.959963984540054**2
    low, high = sorted(np.roots([0.1**2 - z2 * vc, -2 * 0.1 * 0.125, 0.125**2 - z2 * vt]))
    assert bounds(ratio.ratio) == (pytest.approx(1 / high), pytest.approx(1 / low))


def test_a_channel_may_be_called_like_the_total() -> None:
    alike, _, total = price({"(total)": DOUYIN, "wechat": WECHAT}, {"(total)": Decimal(10), "wechat": Decimal(1000)})
    assert (alike.cost, total.cost) == ("10", "1010")
    assert alike.cost_per_unit == pytest.approx(10 / 2_500)


def test_the_total_takes_the_channels_with_a_cost_as_one() -> None:
    total = price(CHANNELS, COSTS)[-1]
    assert (total.channel, total.cost, total.units) == ("(total)", "150000.1", 4_000)
    control, treatment = total.variants
    assert (control.units, control.acquisitions, treatment.units, treatment.acquisitions) == (1_800, 140, 1_700, 195)
    assert control.cost.estimate == pytest.approx(150_000.1 / 4_000 / (140 / 1_800))
    lift = fixed.compare(ProportionStats(1_700, 195), ProportionStats(1_800, 140), alpha=0.05).cell().relative
    assert lift.estimate is not None
    assert total.ratios[0].ratio.estimate == pytest.approx(1 / (1 + lift.estimate))


@pytest.mark.parametrize("method", ["fixed", "sequential"])
def test_without_acquisitions_the_cost_has_no_upper_bound(method: CostMethod) -> None:
    arms: Arms = {"control": Arm(500, 0, 50), "treatment": Arm(500, 0, 0)}
    (channel, _) = price({"douyin": arms}, {"douyin": Decimal(1_000)}, method)
    treatment = channel.variants[1]
    assert (treatment.cost.estimate, treatment.cost.upper) == (None, None)
    assert treatment.cost.lower is not None
    assert treatment.cost.lower > 0
    assert channel.ratios[0].ratio.estimate is None


def test_a_variant_whose_windows_are_all_open_has_no_cost_yet() -> None:
    arms: Arms = {"control": Arm(0, 500, 0), "treatment": Arm(0, 500, 0)}
    (channel, _) = price({"douyin": arms}, {"douyin": Decimal(1_000)})
    assert channel.cost_per_unit == 1.0
    for variant in channel.variants:
        assert (variant.cost.estimate, variant.cost.lower, variant.cost.upper) == (None, None, None)
    assert channel.ratios[0].ratio == Interval(estimate=None, lower=None, upper=None)


def test_what_costs_nothing_costs_nothing_per_acquisition() -> None:
    (channel, _) = price({"douyin": DOUYIN}, {"douyin": Decimal(0)})
    assert (channel.cost, channel.variants[0].cost) == ("0", Interval(estimate=0.0, lower=0.0, upper=0.0))


def test_intervals_of_a_later_phase_are_at_its_alpha() -> None:
    stricter = an_experiment(plan=a_plan(planned_units=4_000, alpha=0.01))
    (channel, _) = price_channels(stricter, OPENED, CHANNELS, {"wechat": Decimal(1)}, method="fixed")
    low, high = proportion_confint(40, 800, alpha=0.01, method="wilson")
    assert bounds(channel.variants[0].rate) == (pytest.approx(low), pytest.approx(high))


def test_costs_name_texts_without_quotes_and_other_values_as_json() -> None:
    names = [name_channel(slice_) for slice_ in ('"douyin"', '"a \\"b\\""', "7", "true", "(none)", "(rest)")]
    assert names == ["douyin", 'a "b"', "7", "true", "(none)", "(rest)"]


def test_costs_of_many_channels_add_up_exactly() -> None:
    costs = {str(number): Decimal("0.1") for number in range(30)}
    total = price(dict.fromkeys(costs, DOUYIN), costs)[-1]
    assert total.cost == "3"
    assert math.isclose(total.cost_per_unit, 3 / 75_000)
