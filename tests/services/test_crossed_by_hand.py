"""Cost per acquisition and experiments at the same time, once more in pandas, SciPy and statsmodels."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from abplatform.bootstrap import Platform
from abplatform.domain.acquisition import CostMethod
from abplatform.domain.interactions import Interactions
from abplatform.domain.scorecard import Interval
from abplatform.services.price_acquisition import Pricing
from abplatform.services.read_interactions import Crossing
from tests.services.ledger import ARMS, METRICS, OTHER_ARMS, PLANNED, Ledger
from tests.services.reckoning import Effect, contrast, effect, level, value_units, watched

COSTS = {"douyin": Decimal("12345.67"), "app": Decimal(800), "(none)": Decimal(0)}
KNOWN = {metric.key: metric for metric in METRICS}


def rate_bounds(won: int, units: int, method: CostMethod) -> tuple[float, float]:
    """Wilson's (statsmodels), or where the likelihood against its average over a uniform prior has not fallen to 5%."""
    if method == "fixed":
        low, high = proportion_confint(won, units, method="wilson")
        return float(low), float(high)

    def beyond(rate: float) -> float:
        here = special.xlogy(won, rate) + special.xlog1py(units - won, -rate)
        return float(special.betaln(1 + won, 1 + units - won) - here + np.log(0.05))

    low, high = 1e-12, 1 - 1e-12
    return (
        optimize.brentq(beyond, low, won / units, xtol=1e-15) if won else 0.0,
        optimize.brentq(beyond, won / units, high, xtol=1e-15),
    )


def turned(value: float, over: float) -> float | None:
    return value / over if over > 0 else None


def same(found: Interval, estimate: float | None, lower: float | None, upper: float | None) -> None:
    for one, other in ((found.estimate, estimate), (found.lower, lower), (found.upper, upper)):
        assert one == (None if other is None else pytest.approx(other, rel=1e-8))


@pytest.mark.parametrize(("key", "method"), [("opened", "fixed"), ("back", "sequential")])
def test_costs_are_shared_over_all_units_and_divided_by_rates_of_closed_windows(
    ledger: Ledger, kept: Platform, key: str, method: CostMethod
) -> None:
    channels, rows = ledger.units["channel"].fillna("(none)"), value_units(ledger, KNOWN[key])
    pricing = Pricing(by="channel", metric=key, costs=COSTS, method=method)
    answer = kept.explorer.acquisition_cost("default", "trial", pricing=pricing)
    assert [(each.channel, each.units) for each in answer.without_cost] == [("branch", (channels == "branch").sum())]
    assert answer.total.cost == "13145.67"
    for found in (*answer.channels, answer.total):
        names = list(COSTS) if found is answer.total else [found.channel]
        each = float(sum(COSTS[name] for name in names)) / channels.isin(names).sum()
        assert found.cost_per_unit == pytest.approx(each, rel=1e-12)
        inside = rows[channels.reindex(rows.index).isin(names)]
        arms = {arm: inside[inside["variant"] == arm] for arm in ARMS}
        for variant in found.variants:
            arm = arms[variant.variant]
            won, rate = int(arm["y"].sum()), arm["y"].mean()
            low, high = rate_bounds(won, len(arm), method)
            assert (variant.units, variant.acquisitions) == (len(arm), won)
            same(variant.rate, rate, low, high)
            same(variant.cost, each / rate, each / high, turned(each, low))
        for ratio in found.ratios:
            treated, control = arms[ratio.variant], arms["control"]
            # Half of the planned units are the control's, a quarter each treatment's.
            units = len(treated) + len(control)
            critical = stats.norm.ppf(0.975) if method == "fixed" else watched(units, PLANNED * 3 / 4)
            lower, upper = effect(KNOWN[key], treated, control).lifts(critical)
            low, high = 0.0 if upper is None else 1 / (1 + upper), None if lower is None else turned(1, 1 + lower)
            same(ratio.ratio, control["y"].mean() / treated["y"].mean(), low, high)


@pytest.fixture(name="crossed", scope="module")
def _crossed(kept: Platform) -> Interactions:
    return kept.explorer.interactions("default", "trial", crossing=Crossing())


def test_interactions_are_those_of_four_groups(ledger: Ledger, crossed: Interactions) -> None:
    """Contrasts of means and of logarithms, with Satterthwaite's degrees of freedom; HC2 errors of statsmodels."""
    met = ledger.met()
    p_values = []
    for found in crossed.interactions:
        metric = KNOWN[found.metric]
        rows = value_units(ledger, metric).assign(other=met)
        pairs = [(arm, other) for other in ("control", found.other_variant) for arm in ("control", found.variant)]
        groups = [rows[(rows["variant"] == arm) & (rows["other"] == other)] for arm, other in pairs]
        assert [group.units for group in found.groups] == [len(group) for group in groups]
        p_values.append(1.0 if found.p_value is None else found.p_value)
        if min(map(len, groups)) < 100:
            assert (found.not_computable, found.p_value) == ("GROUP_TOO_SMALL", None)
            continue
        parts = [level(metric, group) for group in groups]
        wanted = contrast(parts, [1, -1, -1, 1])
        same(found.absolute, wanted.estimate, *wanted.bounds)
        assert found.p_value == pytest.approx(wanted.p_value, rel=1e-8)
        if metric.kind in {"sum", "count"}:
            model = "y ~ C(variant, Treatment('control')) * C(other, Treatment('control'))"
            fit = ols(model, pd.concat(groups)).fit(cov_type="HC2")
            assert wanted.estimate == pytest.approx(fit.params.iloc[-1])
            assert np.sqrt(wanted.variance) == pytest.approx(fit.bse.iloc[-1])
        logs = contrast([logarithm(part) for part in parts], [1, -1, -1, 1])
        same(found.relative, *(np.expm1(each) for each in (logs.estimate, *logs.bounds)))
        assert found.relative_p_value == pytest.approx(logs.p_value, rel=1e-8)
    adjusted = multipletests(p_values, method="fdr_bh")[1]
    for found, p_value in zip(crossed.interactions, adjusted, strict=True):
        assert found.adjusted_p_value == (None if found.p_value is None else pytest.approx(p_value))
    assert {each.not_computable for each in crossed.interactions} == {None, "GROUP_TOO_SMALL"}


def logarithm(part: Effect) -> Effect:
    """By the delta method."""
    return Effect(np.log(part.estimate), part.variance / part.estimate**2, part.freedom)


def test_shares_of_the_other_variants_are_compared_by_chi_square(ledger: Ledger, crossed: Interactions) -> None:
    (found,) = crossed.experiments
    met = ledger.met()
    assert (found.units, found.several) == (met.isin(OTHER_ARMS).sum(), (met == "(several)").sum())
    table = pd.crosstab(ledger.units["variant"], met)[list(OTHER_ARMS)]
    rest = {arm: table.sum(axis=1) - table[arm] for arm in OTHER_ARMS}
    p_values = [stats.chi2_contingency([table[arm], rest[arm]], correction=False).pvalue for arm in OTHER_ARMS]
    assert found.balance_p_value == pytest.approx(min(1.0, 3 * min(p_values)), rel=1e-6)
