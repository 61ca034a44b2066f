"""The confidence sequence of one rate: closed forms, its martingale, coverage at all looks, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from abplatform.stats import ProportionStats
from abplatform.stats.fixed import clopper_pearson_interval
from abplatform.stats.sequential import rate_interval


def test_the_bound_without_any_success_is_the_closed_form() -> None:
    # (1 - p)^n reaches alpha B(1, n + 1) = alpha / (n + 1).
    units = np.array([1, 10, 1_000, 10_000_000])
    found = rate_interval(ProportionStats(units, 0), alpha=0.05)
    assert found.lower.tolist() == [0.0] * 4
    assert found.upper == pytest.approx(-np.expm1(np.log(0.05 / (units + 1)) / units), rel=1e-9)


@pytest.mark.parametrize(("units", "hits"), [(10, 3), (500, 1), (20_000, 1_234), (1_000_000, 999_990)])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_both_bounds_are_where_the_mixture_has_won_one_over_alpha(units: int, hits: int, alpha: float) -> None:
    # scipy's beta-binomial with a uniform prior over its binomial: the binomial coefficients cancel.
    found = rate_interval(ProportionStats(units, hits), alpha=alpha)
    mixture = stats.betabinom.logpmf(hits, units, 1, 1)
    for bound in (found.lower, found.upper):
        won = mixture - stats.binom.logpmf(hits, units, bound)
        assert float(won) == pytest.approx(-np.log(alpha), rel=1e-5)


def test_successes_and_failures_are_mirror_images() -> None:
    hits, misses = rate_interval(ProportionStats(300, 40)), rate_interval(ProportionStats(300, 260))
    assert float(hits.lower) == pytest.approx(1 - float(misses.upper), rel=1e-9)
    assert float(hits.upper) == pytest.approx(1 - float(misses.lower), rel=1e-9)


def test_it_holds_at_all_looks_where_an_interval_for_one_look_does_not() -> None:
    # 2,000 streams at 3%, looked at after each of 1,500 units. Exact, so that misses stay below alpha up to chance:
    # the bound is the 0.9999 quantile of a binomial count at alpha.
    draws, alpha = 2_000, 0.1
    hits = np.cumsum(np.random.default_rng(6).random((draws, 1_500)) < 0.03, axis=1)
    looks = np.arange(50, 1_501, 50)
    arm = ProportionStats(np.broadcast_to(looks, (draws, looks.size)), hits[:, looks - 1])
    sequence, single = rate_interval(arm, alpha=alpha), clopper_pearson_interval(arm, alpha=alpha)
    missed = [int(((each.lower > 0.03) | (each.upper < 0.03)).any(axis=1).sum()) for each in (sequence, single)]
    most = stats.binom.ppf(0.9999, draws, alpha)
    assert missed[0] <= most < missed[1]


def test_without_units_there_is_no_interval() -> None:
    found = rate_interval(ProportionStats(0, 0))
    assert np.isnan([found.estimate, found.lower, found.upper]).all()


def test_an_alpha_that_is_no_error_rate_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
        rate_interval(ProportionStats(10, 1), alpha=1.0)
