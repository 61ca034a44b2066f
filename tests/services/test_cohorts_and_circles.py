"""Results of a real lake: vintages whose windows are open, harm that shows before they close, circles of friends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.experiment import Amount, MetricUse
from abplatform.domain.metric import Window
from abplatform.domain.scorecard import Scorecard
from abplatform.stats import sequential
from tests.builders import a_conversion_fact, a_metric, a_metric_use, a_plan, an_exposure_fact, an_external_experiment
from tests.services.growing import of_time, put
from tests.warehouse.looking import a_platform, begin

VARIANTS = ("control", "treatment")
BAD_DEBT = a_metric("bad-debt", direction="decrease", window=Window(end=timedelta(days=30)))


@pytest.fixture(name="platform")
def _platform(tmp_path: Path) -> Iterator[Platform]:
    with a_platform(tmp_path) as platform:
        yield platform


def cohort(at: datetime, units: int, *, bad: int, name: str) -> Iterator[ExposureFact | ConversionFact]:
    """Units of both variants that came at a time, of which some go bad an hour later; a third more of the treatment."""
    for variant in VARIANTS:
        for number in range(units):
            unit = f"{name} {variant} {number}"
            yield an_exposure_fact(unit, experiment="imported", variant=variant, unit=unit, **of_time(at))
            if number < (bad if variant == "control" else bad * 4 // 3):
                later = of_time(at + timedelta(hours=1))
                yield a_conversion_fact(unit, event="bad-debt", unit=unit, **later)


def read(platform: Platform) -> Scorecard:
    return platform.results("default", "imported")


@pytest.mark.parametrize("period", ["exposure_day", "exposure_week", "exposure_month"])
def test_vintages_with_open_windows_show_their_open_share_and_no_numbers(platform: Platform, period: str) -> None:
    now = platform.now()
    begin(platform, an_external_experiment(metrics=(a_metric_use("bad-debt"),)), metrics=[BAD_DEBT])
    # The first of a month is in another day, week and month than a time 32 days or more before.
    ages = {"closed": 95, "also closed": 62, "open": 1}
    for name, days in ages.items():
        put(platform, cohort(now - timedelta(days=days), 60, bad=30, name=name))

    (result,) = platform.explorer.breakdown("default", "imported", by=period).metrics

    assert len(result.slices) == 3
    for vintage in result.slices[:2]:
        assert [(each.units, each.open_units, each.open_share) for each in vintage.variants] == [(60, 0, 0.0)] * 2
        assert [each.mean for each in vintage.variants] == [0.5, pytest.approx(2 / 3)]
        assert vintage.comparisons[0].absolute.estimate == pytest.approx(1 / 6)
    youngest = result.slices[2]
    assert [(each.units, each.open_units, each.open_share) for each in youngest.variants] == [(0, 60, 1.0)] * 2
    assert [(each.sum, each.mean, each.sd) for each in youngest.variants] == [("0", None, None)] * 2
    (comparison,) = youngest.comparisons
    assert (comparison.not_computable, comparison.verdict) == ("NO_UNITS", "not_computable")
    assert (comparison.absolute.estimate, comparison.relative.estimate, comparison.p_value) == (None, None, None)


def test_a_metric_that_is_partly_open_counts_only_units_whose_window_has_closed(platform: Platform) -> None:
    now = platform.now()
    begin(platform, an_external_experiment(metrics=(a_metric_use("bad-debt"),)), metrics=[BAD_DEBT])
    put(platform, cohort(now - timedelta(days=31), 40, bad=18, name="early"))
    put(platform, cohort(now - timedelta(days=29), 10, bad=6, name="late"))

    found = read(platform).metrics[0]

    assert [(each.units, each.open_units, each.open_share) for each in found.variants] == [(40, 10, 0.2)] * 2
    assert [each.mean for each in found.variants] == [18 / 40, 24 / 40]
    assert found.maturity is not None
    assert found.maturity.known_share == 0.8
    assert found.maturity.closes_by is not None
    assert found.maturity.closes_by >= now + timedelta(days=1), "the last window closes then, and not later than told"


def test_harm_is_watched_over_all_units_at_equal_follow_up_before_any_window_closes(platform: Platform) -> None:
    guard = MetricUse(metric="bad-debt", role="guardrail", non_inferiority_margin=Amount(absolute=0.01))
    begin(platform, an_external_experiment(metrics=(a_metric_use("purchase"), guard)), metrics=[a_metric(), BAD_DEBT])
    put(platform, cohort(platform.now() - timedelta(days=2), 200, bad=90, name="young"))

    found = read(platform).metrics[1]

    assert [(each.units, each.open_share) for each in found.variants] == [(0, 1.0), (0, 1.0)]
    # All 90 and 120 that went bad are seen, though none of their windows has closed.
    harm = float(sequential.harm_p_value(120, 90, share=0.5))
    assert harm > 0.05
    assert found.comparisons[0].verdict == "not_computable"

    put(platform, cohort(platform.now() - timedelta(days=1), 600, bad=420, name="younger"))
    assert float(sequential.harm_p_value(120 + 560, 90 + 420, share=0.5)) < 0.05
    assert read(platform).metrics[1].comparisons[0].verdict == "worse"


def circles(platform: Platform, count: int, *, effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put circles of 1 to 6 customers into the lake; gives numbers, variant and circle of each customer."""
    chance = np.random.default_rng(3)
    at = platform.now() - timedelta(days=40)
    facts: list[ExposureFact | ConversionFact] = []
    rows = []
    for circle in range(2 * count):
        treated = circle % 2
        mood = chance.gamma(2.0, 0.5) + effect * treated
        for member in range(chance.integers(1, 7)):
            unit, invited = f"{circle}/{member}", int(chance.poisson(mood))
            group = {"unit": unit, "cluster": f"circle {circle}", "variant": VARIANTS[treated]}
            facts.append(an_exposure_fact(unit, experiment="imported", **group, **of_time(at)))
            facts += [
                a_conversion_fact(f"{unit} {number}", event="invited", unit=unit, **of_time(at + timedelta(days=1)))
                for number in range(invited)
            ]
            rows.append((invited, treated, circle))
    put(platform, facts)
    numbers, treated_, circle_ = np.array(rows).T
    return numbers.astype(np.float64), treated_, circle_


INVITED = a_metric("invited", kind="count", spills_over=True)
BY_CIRCLES = an_external_experiment(
    metrics=(a_metric_use("invited"),),
    unit_type="referral_circle",
    analysis_unit="user_id",
    plan=a_plan(method="fixed", planned_units=100),
)


def test_circles_are_compared_as_a_regression_with_cluster_robust_errors_does(platform: Platform) -> None:
    begin(platform, BY_CIRCLES, metrics=[INVITED])
    y, treated, circle = circles(platform, 60, effect=0.5)

    found = read(platform)
    (comparison,) = found.metrics[0].comparisons

    # statsmodels OLS with cluster covariance and without its factor for small samples; ours is G / (G - 1) per arm.
    fit = sm.OLS(y, sm.add_constant(treated)).fit(
        cov_type="cluster", cov_kwds={"groups": circle, "use_correction": False}
    )
    error = fit.bse[1] * np.sqrt(60 / 59)
    assert comparison.absolute.estimate == pytest.approx(fit.params[1], rel=1e-9)
    arms = [
        sm.OLS(y[treated == arm], np.ones((treated == arm).sum()))
        .fit(cov_type="cluster", cov_kwds={"groups": circle[treated == arm], "use_correction": False})
        .bse[0]
        ** 2
        for arm in (0, 1)
    ]
    freedom = sum(arms) ** 2 / sum(variance**2 / 59 for variance in arms)  # Welch and Satterthwaite, over circles
    assert comparison.p_value == pytest.approx(2 * stats.t.sf(fit.params[1] / error, freedom), rel=1e-6)
    assert comparison.absolute.lower == pytest.approx(fit.params[1] - stats.t.ppf(0.975, freedom) * error, rel=1e-6)
    assert [each.clusters for each in found.metrics[0].variants] == [60, 60]
    naive = stats.ttest_ind(y[treated == 1], y[treated == 0], equal_var=False)
    assert naive.pvalue < comparison.p_value, "members of a circle are alike: taken one by one they seem to say more"
    assert comparison.warnings == ()
    assert not any("what one unit does" in warning for warning in found.health.warnings)


def test_few_circles_are_warned_of(platform: Platform) -> None:
    begin(platform, BY_CIRCLES, metrics=[INVITED])
    circles(platform, 12, effect=0.5)
    (comparison,) = read(platform).metrics[0].comparisons
    assert "FEW_CLUSTERS" in comparison.warnings


def test_invitations_of_customers_that_were_randomised_one_by_one_are_warned_of(platform: Platform) -> None:
    definition = an_external_experiment(metrics=(a_metric_use("invited"),))
    begin(platform, definition, metrics=[INVITED])
    put(platform, cohort(platform.now() - timedelta(days=40), 50, bad=5, name="single"))
    (warning,) = [each for each in read(platform).health.warnings if "what one unit does" in each]
    assert warning.startswith("invited: ")
