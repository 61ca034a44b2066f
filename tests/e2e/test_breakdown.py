"""Slices of a real experiment, number by number against pandas, statsmodels and SciPy on the raw file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_generic
from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from abplatform.bootstrap import Platform
from abplatform.domain.breakdown import Breakdown, MetricBreakdown
from abplatform.domain.differences import Difference
from abplatform.domain.experiment import Variant
from abplatform.domain.scorecard import ComparisonResult
from abplatform.services.define import create_metric
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import (
    NOW,
    a_conversion_fact,
    a_metric,
    a_metric_use,
    a_plan,
    an_experiment,
    an_exposure_fact,
)
from tests.cli.tables import a_platform
from tests.hillstrom import read_hillstrom
from tests.services.lives import lead

CONTROL, TREATMENTS = "No E-Mail", ("Mens E-Mail", "Womens E-Mail")
DIMENSIONS = ("history_segment", "channel")
RATES = ("visit", "conversion")
AMOUNTS = ("spend", "order")
"""What was spent, plain; and the same adjusted for what had been spent before (``history``)."""
test_proportions_2indep.__test__ = False  # a function of statsmodels, not a test


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """The raw file."""
    return read_hillstrom()


@pytest.fixture(scope="module")
def platform(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The campaign in the lake; ``order`` has an event before the e-mail, worth the customer's history."""
    with a_platform(tmp_path_factory.mktemp("home")) as platform:
        with platform.uow.begin() as work:
            for key in (*RATES, *AMOUNTS):
                kind = "conversion" if key in RATES else "sum"
                create_metric(work, "default", a_metric(key, kind=kind, window=None), now=NOW)
        uses = [a_metric_use(key, role="secondary", mde=None) for key in ("conversion", *AMOUNTS)]
        definition = an_experiment(
            "hillstrom",
            assignment="external",
            variants=tuple(Variant(key=key) for key in (CONTROL, *TREATMENTS)),
            control=CONTROL,
            metrics=(a_metric_use("visit"), *uses),
            plan=a_plan(method="fixed", planned_units=64_000, cuped=True),
            dimensions=DIMENSIONS,
        )
        lead(platform.uow, definition, "start")
        log_events(platform, frame)
        yield platform


def log_events(platform: Platform, frame: pd.DataFrame) -> None:
    exposures, conversions = [], []
    for number, row in enumerate(frame.itertuples(index=False)):
        unit = f"customer-{number}"
        attributes = {name: f'"{getattr(row, name)}"' for name in DIMENSIONS}
        exposures.append(
            an_exposure_fact(
                f"e-{number}",
                experiment="hillstrom",
                unit=unit,
                variant=row.segment,
                expected_variant=None,
                attributes=attributes,
            )
        )
        happened: list[tuple[str, Decimal | None]] = [(event, None) for event in RATES if getattr(row, event)]
        happened += [(event, Decimal(str(row.spend))) for event in AMOUNTS if row.spend]
        conversions += [
            a_conversion_fact(f"{event}-{number}", event=event, unit=unit, value=value) for event, value in happened
        ]
        history = {"value": Decimal(str(row.history)), "timestamp": NOW - timedelta(days=1)}
        conversions.append(a_conversion_fact(f"h-{number}", event="order", unit=unit, **history))
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", conversions))


@pytest.fixture(scope="module")
def breakdowns(platform: Platform) -> dict[str, Breakdown]:
    """By each dimension, by the fixed method."""
    return {by: platform.explorer.breakdown("default", "hillstrom", by=by, method="fixed") for by in DIMENSIONS}


def of(breakdown: Breakdown, key: str) -> MetricBreakdown:
    return next(metric for metric in breakdown.metrics if metric.metric == key)


def column(key: str) -> str:
    return "spend" if key == "order" else key


def cells(frame: pd.DataFrame, found: MetricBreakdown, by: str) -> Iterator[tuple[ComparisonResult, Any, Any]]:
    """Each comparison with the raw rows of its treatment and its control."""
    for slice_ in found.slices:
        rows = frame[frame[by] == slice_.slice]
        for comparison in slice_.comparisons:
            yield comparison, rows[rows.segment == comparison.variant], rows[rows.segment == CONTROL]


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("key", [*RATES, *AMOUNTS])
def test_units_sums_and_means_of_every_slice_are_those_of_the_file(
    breakdowns: dict[str, Breakdown], frame: pd.DataFrame, by: str, key: str
) -> None:
    found = of(breakdowns[by], key)
    assert [each.slice for each in found.slices] == sorted(frame[by].unique())
    cents = (frame[column(key)] * 100).round().astype("int64")
    table = pd.DataFrame({"slice": frame[by], "arm": frame.segment, "cents": cents})
    expected = table.groupby(["slice", "arm"]).cents.agg(["size", "sum"])
    for slice_ in found.slices:
        assert [arm.variant for arm in slice_.variants] == [CONTROL, *TREATMENTS]
        for arm in slice_.variants:
            size, total = expected.loc[(slice_.slice, arm.variant)]
            assert (arm.units, Decimal(arm.sum) * 100) == (size, total)
            assert arm.mean == pytest.approx(total / size / 100, rel=1e-12)


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("key", RATES)
def test_rates_of_every_slice_agree_with_statsmodels(
    breakdowns: dict[str, Breakdown], frame: pd.DataFrame, by: str, key: str
) -> None:
    for comparison, treated, control in cells(frame, of(breakdowns[by], key), by):
        numbers = (treated[key].sum(), len(treated), control[key].sum(), len(control))
        low, high = confint_proportions_2indep(*numbers, compare="diff", method="wald")
        p_value = test_proportions_2indep(*numbers, compare="diff", method="wald").pvalue
        found = comparison.absolute
        assert found.estimate == pytest.approx(treated[key].mean() - control[key].mean(), rel=1e-9)
        assert [found.lower, found.upper] == pytest.approx([low, high], rel=1e-9)
        assert comparison.p_value == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("by", DIMENSIONS)
def test_amounts_of_every_slice_agree_with_statsmodels(
    breakdowns: dict[str, Breakdown], frame: pd.DataFrame, by: str
) -> None:
    for comparison, treated, control in cells(frame, of(breakdowns[by], "spend"), by):
        compared = CompareMeans(DescrStatsW(treated.spend), DescrStatsW(control.spend))
        low, high = compared.tconfint_diff(usevar="unequal")
        found = comparison.absolute
        assert found.estimate == pytest.approx(treated.spend.mean() - control.spend.mean(), rel=1e-9)
        assert [found.lower, found.upper] == pytest.approx([low, high], rel=1e-9)
        assert comparison.p_value == pytest.approx(compared.ttest_ind(usevar="unequal")[1], rel=1e-9)
        assert "COVARIATE_DROPPED" in comparison.warnings, "nobody had a value of it before"


def regress(treated: pd.DataFrame, control: pd.DataFrame) -> tuple[float, float, float]:
    """Lin's (2013) estimate by two regressions of statsmodels, its standard error and its degrees of freedom."""
    both = pd.concat([treated, control]).history
    fits = [sm.OLS(arm.spend, sm.add_constant(arm.history)).fit() for arm in (treated, control)]
    at = [fit.t_test([1.0, both.mean()]) for fit in fits]
    estimate = at[0].effect.item() - at[1].effect.item()
    # Less what the noise of the slopes adds on average to the last term, which is of slopes that differ.
    own = [each.sd.item() ** 2 - fit.scale / (fit.nobs - 1) / len(both) for each, fit in zip(at, fits, strict=True)]
    apart = fits[0].params["history"] - fits[1].params["history"]
    variance = sum(own) + apart**2 * both.var() / len(both)
    freedom = variance**2 / sum(each**2 / fit.df_resid for each, fit in zip(own, fits, strict=True))
    return estimate, float(np.sqrt(variance)), freedom


@pytest.mark.parametrize("by", DIMENSIONS)
def test_adjusted_amounts_of_every_slice_agree_with_least_squares(
    breakdowns: dict[str, Breakdown], frame: pd.DataFrame, by: str
) -> None:
    for comparison, treated, control in cells(frame, of(breakdowns[by], "order"), by):
        estimate, error, freedom = regress(treated, control)
        found, half = comparison.absolute, error * stats.t.ppf(0.975, freedom)
        assert found.estimate == pytest.approx(estimate, rel=1e-8)
        # Degrees of freedom are shared out a little otherwise where slopes differ.
        assert [found.lower, found.upper] == pytest.approx([estimate - half, estimate + half], abs=1e-4 * half)
        assert comparison.p_value == pytest.approx(2 * stats.t.sf(abs(estimate) / error, freedom), rel=1e-3)
        assert comparison.variance_reduction is not None


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("key", [*RATES, *AMOUNTS])
def test_p_values_of_a_metric_are_adjusted_over_all_its_slices_and_treatments(
    breakdowns: dict[str, Breakdown], by: str, key: str
) -> None:
    comparisons = [each for slice_ in of(breakdowns[by], key).slices for each in slice_.comparisons]
    assert len(comparisons) == {"history_segment": 14, "channel": 6}[by]
    expected = multipletests([each.p_value for each in comparisons], method="fdr_bh")[1]
    assert [each.adjusted_p_value for each in comparisons] == pytest.approx(list(expected), rel=1e-12)
    for each in comparisons:
        sure = (each.adjusted_p_value or 1.0) < 0.05
        assert each.verdict == ("better" if sure else "inconclusive"), "no e-mail did harm that anybody can see"


def heterogeneity(frame: pd.DataFrame, by: str, key: str, arm: str) -> float:
    """Equal effects in all slices: Cochran's Q of rates, Welch's analysis of variance of amounts."""
    effects, variances, freedoms = [], [], []
    for _, rows in frame.groupby(by):
        treated, control = rows[rows.segment == arm], rows[rows.segment == CONTROL]
        if key == "order":
            effect, error, freedom = regress(treated, control)
            variance = error**2
        else:
            parts = [each[column(key)].var(ddof=0 if key in RATES else 1) / len(each) for each in (treated, control)]
            effect, variance = treated[column(key)].mean() - control[column(key)].mean(), sum(parts)
            shares = [part**2 / (len(each) - 1) for part, each in zip(parts, (treated, control), strict=True)]
            freedom = variance**2 / sum(shares)
        effects.append(effect)
        variances.append(variance)
        freedoms.append(freedom)
    if key in RATES:
        weights = 1 / np.array(variances)
        common = np.average(effects, weights=weights)
        return float(stats.chi2.sf((weights * (np.array(effects) - common) ** 2).sum(), len(effects) - 1))
    # An analysis of variance of samples of that many observations, with means and variances as if they were single.
    sizes = np.array(freedoms) + 1
    return float(anova_generic(np.array(effects), np.array(variances) * sizes, sizes, use_var="unequal").pvalue)


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("key", [*RATES, *AMOUNTS])
@pytest.mark.parametrize("arm", TREATMENTS)
def test_whether_effects_differ_agrees_with_an_analysis_of_variance(
    breakdowns: dict[str, Breakdown], frame: pd.DataFrame, by: str, key: str, arm: str
) -> None:
    found = asked(breakdowns[by].differences, key, arm)
    assert (found.dimension, found.slices) == (by, frame[by].nunique())
    assert found.p_value == pytest.approx(heterogeneity(frame, by, key, arm), rel=1e-3 if key == "order" else 1e-8)


def asked(differences: tuple[Difference, ...], key: str, arm: str) -> Difference:
    return next(each for each in differences if (each.metric, each.variant) == (key, arm))


def test_the_search_asks_the_same_of_all_dimensions_and_counts_all_that_it_asked(
    platform: Platform, breakdowns: dict[str, Breakdown]
) -> None:
    found = platform.explorer.differences("default", "hillstrom")
    assert len(found.differences) == 2 * 4 * 2
    alone = [each for breakdown in breakdowns.values() for each in breakdown.differences]
    by_name = {(each.dimension, each.metric, each.variant): each.p_value or 0.0 for each in alone}
    p_values = [by_name[each.dimension, each.metric, each.variant] for each in found.differences]
    assert [each.p_value for each in found.differences] == pytest.approx(p_values, rel=1e-9)
    assert p_values == pytest.approx(sorted(p_values), rel=1e-9), "the surest first"
    adjusted = list(multipletests(p_values, method="fdr_bh")[1])
    assert [each.adjusted_p_value for each in found.differences] == pytest.approx(adjusted, rel=1e-9)
    assert [each.found for each in found.differences] == [p < 0.05 for p in adjusted]
