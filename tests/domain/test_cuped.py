"""Plans with CUPED: adjusted where there is something to adjust for, and as without it everywhere else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.differences import find_differences
from abplatform.domain.experiment import Amount, Variant
from abplatform.domain.health import check_health
from abplatform.domain.plan import Method, Prior
from abplatform.domain.scorecard import ComparisonResult
from abplatform.domain.scoring import score_metrics
from tests.builders import a_metric, a_metric_use, a_plan, an_experiment
from tests.domain.aggregations import a_rate, an_aggregation, an_amount

Values = NDArray[np.float64]

CORRELATION = 0.8
UNITS = 4_000
METHODS: dict[Method, dict[str, Any]] = {
    "fixed": {},
    "sequential": {},
    "group_sequential": {},
    "bayesian": {"prior": Prior(scale=10), "loss_threshold": 0.01, "minimum_units": 2},
}
METRICS = (a_metric("revenue", kind="sum"), a_metric("refunds", kind="sum", direction="decrease"), a_metric("purchase"))


def with_before(cell: ArmCell, values: Values, before: Values) -> ArmCell:
    apart = before - before.mean()
    moments: dict[str, Any] = {
        "before_mean": before.mean(),
        "before_m2": apart @ apart,
        "before_c": apart @ (values - values.mean()),
    }
    return replace(cell, **moments)


def draw(effect: float, seed: int) -> tuple[Values, Values]:
    """Values after and before, of variance 1 and correlation 0.8."""
    chance = np.random.default_rng(seed)
    before = chance.normal(5, 1, UNITS)
    noise = chance.normal(0, np.sqrt(1 - CORRELATION**2), UNITS)
    return 10 + effect + CORRELATION * before + noise, before


def cells(name: str = "revenue", **treatments: float) -> list[ArmCell]:
    arms = {"control": 0.0} | (treatments or {"treatment": 0.05})
    drawn = {variant: draw(effect, seed) for seed, (variant, effect) in enumerate(arms.items())}
    return [with_before(an_amount(variant, y, name=name), y, x) for variant, (y, x) in drawn.items()]


def compare(*found: ArmCell, cuped: bool, method: Method = "fixed", uses: Any = None) -> list[ComparisonResult]:
    plan = a_plan(method=method, planned_units=2 * UNITS, cuped=cuped, **METHODS[method])
    variants = tuple(Variant(key=cell.variant) for cell in found if cell.name == found[0].name)
    definition = an_experiment(metrics=uses or (a_metric_use(found[0].name),), plan=plan, variants=variants)
    results = score_metrics(definition, METRICS, an_aggregation(*found), method=method)
    return [comparison for result in results for comparison in result.comparisons]


def width(comparison: ComparisonResult) -> float:
    assert comparison.absolute.upper is not None
    assert comparison.absolute.lower is not None
    return comparison.absolute.upper - comparison.absolute.lower


def test_the_estimate_is_the_coefficient_of_the_regression_with_interactions() -> None:
    (control, before_c), (treatment, before_t) = draw(0.0, 0), draw(0.05, 1)
    [found] = compare(*cells(), cuped=True)
    y, x = np.concatenate([control, treatment]), np.concatenate([before_c, before_t])
    treated = np.repeat([0.0, 1.0], UNITS)
    centred = x - x.mean()
    # Lin (2013): ordinary least squares on raw data, by numpy.
    columns = np.column_stack([np.ones(y.size), treated, centred, treated * centred])
    assert found.absolute.estimate == pytest.approx(np.linalg.lstsq(columns, y)[0][1], rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_of_every_method_shrink_as_the_correlation_says(method: Method) -> None:
    [plain] = compare(*cells(), cuped=False, method=method)
    [adjusted] = compare(*cells(), cuped=True, method=method)
    # Variance of residuals: 1 - rho^2; sampling noise of a correlation from 8,000 units is below 1%.
    assert width(adjusted) / width(plain) == pytest.approx(np.sqrt(1 - CORRELATION**2), rel=0.03)
    assert adjusted.variance_reduction == pytest.approx(CORRELATION**2, abs=0.02)
    assert plain.variance_reduction is None
    assert adjusted.simultaneous == adjusted.absolute, "one comparison is a family of its own"
    assert adjusted.warnings == plain.warnings


def test_each_treatment_is_adjusted_beside_the_control_as_if_it_were_alone() -> None:
    both = compare(*cells(first=0.05, second=0.0), cuped=True)
    found = cells(first=0.05, second=0.0)
    alone = [compare(found[0], found[index], cuped=True)[0] for index in (1, 2)]
    assert [each.absolute for each in both] == [each.absolute for each in alone]


def test_the_prior_of_a_relative_lift_is_put_on_the_plain_mean_and_is_one_for_all_treatments() -> None:
    # Of a small mean, so that the adjusted one would be another scale altogether.
    arms = [(values - 13.95, before) for values, before in (draw(0.0, 0), draw(0.05, 1), draw(0.02, 2))]
    keys = ("control", "first", "second")
    found = [with_before(an_amount(key, y, name="revenue"), y, x) for key, (y, x) in zip(keys, arms, strict=True)]
    scale = 0.5
    plan = a_plan(**METHODS["bayesian"] | {"method": "bayesian", "cuped": True, "prior": Prior(scale=scale)})
    definition = an_experiment(
        metrics=(a_metric_use("revenue"),), plan=plan, variants=tuple(Variant(key=key) for key in keys)
    )
    [result] = score_metrics(definition, METRICS, an_aggregation(*found), method="bayesian")
    for comparison, (y, x) in zip(result.comparisons, arms[1:], strict=True):
        (control, before), treated = arms[0], np.repeat([0.0, 1.0], UNITS)
        centred = np.concatenate([before, x]) - np.concatenate([before, x]).mean()
        columns = np.column_stack([np.ones(2 * UNITS), treated, centred, treated * centred])
        # Lin (2013), by numpy; the normal posterior (Gelman et al., 2013, 2.5) shrinks it by w = t^2 / (t^2 + v) and
        # has the variance w v, so that the prior's standard deviation t follows from both.
        estimate = np.linalg.lstsq(columns, np.concatenate([control, y]))[0][1]
        weight = (comparison.absolute.estimate or math.nan) / estimate
        variance = (width(comparison) / 2 / stats.norm.ppf(0.975)) ** 2
        assert math.sqrt(variance / (1 - weight)) == pytest.approx(scale * abs(control.mean()), rel=1e-6)
        adjusted_control = control.mean() - np.polyfit(before, control, 1)[0] * (before.mean() - x.mean()) / 2
        assert adjusted_control != pytest.approx(control.mean(), rel=1e-2), "else this could not tell them apart"


def test_conversions_are_adjusted_too() -> None:
    chance = np.random.default_rng(3)
    before = {variant: (chance.random(UNITS) < 0.5).astype(float) for variant in ("control", "treatment")}
    after = {variant: (chance.random(UNITS) < 0.1 + 0.8 * x).astype(float) for variant, x in before.items()}
    rates = [a_rate(variant, UNITS, int(y.sum())) for variant, y in after.items()]
    found = [with_before(cell, after[cell.variant], before[cell.variant]) for cell in rates]
    [comparison] = compare(*found, cuped=True)
    # Var(p(x)) over Var(y): 0.16 of 0.25.
    assert comparison.variance_reduction == pytest.approx(0.64, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "lost",
    [
        {"before_m2": 0.0, "before_c": 0.0},
        {"before_mean": 0.0, "before_m2": 0.0, "before_c": 0.0},
        {"before_mean": None, "before_m2": None, "before_c": None},
    ],
    ids=["constant", "nothing before", "not reduced"],
)
def test_without_a_covariate_the_result_is_the_unadjusted_one_with_a_warning(
    method: Method, lost: dict[str, Any]
) -> None:
    bare = [replace(cell, **lost) for cell in cells()]
    [plain] = compare(*bare, cuped=False, method=method)
    [found] = compare(*bare, cuped=True, method=method)
    assert found == replace(plain, warnings=("COVARIATE_DROPPED", *plain.warnings))


def test_a_covariate_that_one_arm_lacks_is_left_out() -> None:
    control, treatment = cells()
    bare = replace(treatment, before_m2=0.0, before_c=0.0)
    [plain], [found] = compare(control, bare, cuped=False), compare(control, bare, cuped=True)
    assert found == replace(plain, warnings=("COVARIATE_DROPPED",))


def test_a_slice_whose_control_has_no_past_is_in_the_test_of_differences_as_it_is() -> None:
    """Beside an adjusted slice: Cochran's Q and Welch's test of two means and variances, by hand."""
    (old, old_before), (new, new_before) = draw(0.0, 0), draw(0.3, 1)
    few = slice(40)
    small = [old[few] + 0.5, new[few]]
    sliced = [
        with_before(an_amount("control", old, slice="app"), old, old_before),
        with_before(an_amount("treatment", new, slice="app"), new, new_before),
        with_before(an_amount("control", small[0], slice="web"), small[0], np.zeros(40)),
        with_before(an_amount("treatment", small[1], slice="web"), small[1], new_before[few]),
    ]
    definition = an_experiment(metrics=(a_metric_use("revenue"),), plan=a_plan(cuped=True))
    found = an_aggregation(an_amount("control", old), an_amount("treatment", new), slices={"channel": tuple(sliced)})
    [difference] = find_differences(definition, METRICS[:1], found)
    [adjusted] = compare(*(replace(cell, slice=None) for cell in sliced[:2]), cuped=True)
    assert adjusted.absolute.upper is not None
    assert adjusted.absolute.estimate is not None
    # With thousands of degrees of freedom the interval is a normal one.
    variances = np.array([(width(adjusted) / 2 / 1.9605) ** 2, sum(arm.var(ddof=1) / 40 for arm in small)])
    apart = adjusted.absolute.estimate - (small[1].mean() - small[0].mean())
    q = apart**2 / variances.sum()
    assert difference.share == pytest.approx(1 - 1 / q, rel=1e-3)
    freedom = variances.sum() ** 2 / (variances**2 / [2 * UNITS - 4, welch_freedom(*small)]).sum()
    assert difference.p_value == pytest.approx(stats.f.sf(q, 1, freedom), rel=2e-2)


def welch_freedom(one: Values, two: Values) -> float:
    """Of Welch's test, by SciPy."""
    return float(stats.ttest_ind(one, two, equal_var=False).df)


@pytest.mark.parametrize("units", [0, 1, 2])
def test_arms_of_too_few_units_say_what_they_say_without_it(units: int) -> None:
    found = [
        with_before(a_rate(arm, units, units), *np.ones((2, units))) if units else a_rate(arm, 0, 0)
        for arm in ("control", "treatment")
    ]
    [plain], [adjusted] = compare(*found, cuped=False), compare(*found, cuped=True)
    assert plain.not_computable is not None
    assert adjusted == plain


def test_guardrails_stay_unadjusted_and_say_nothing_of_it() -> None:
    margin = Amount(relative=0.1)
    guarded = (
        a_metric_use("revenue"),
        a_metric_use("refunds", role="guardrail", mde=None, non_inferiority_margin=margin),
        a_metric_use("purchase", role="guardrail", mde=None, non_inferiority_margin=margin),
    )
    rates = [a_rate(variant, UNITS, 400) for variant in ("control", "treatment")]
    found = [*cells(), *cells("refunds"), *rates]
    plain, adjusted = (compare(*found, cuped=cuped, uses=guarded) for cuped in (False, True))
    assert adjusted[1:] == plain[1:]
    assert adjusted[0].variance_reduction is not None


def test_an_effect_that_noise_hides_is_found_by_the_adjusted_verdict() -> None:
    [plain], [adjusted] = compare(*cells(), cuped=False), compare(*cells(), cuped=True)
    assert (plain.verdict, adjusted.verdict) == ("inconclusive", "better")


def test_arms_that_differed_before_are_a_health_warning() -> None:
    control, treatment = cells()
    assert treatment.before_mean is not None
    definition = an_experiment(metrics=(a_metric_use("revenue"),), plan=a_plan(cuped=True))
    [sound] = check_health(definition, an_aggregation(control, treatment)).covariates
    assert (sound.covariate, sound.source) == ("revenue", "metric")
    assert sound.means == {"control": control.before_mean, "treatment": treatment.before_mean}
    assert sound.p_value is not None
    assert sound.p_value > 0.001
    richer = replace(treatment, before_mean=treatment.before_mean + 0.2)
    health = check_health(definition, an_aggregation(control, richer))
    assert any(
        warning.startswith("The metric revenue differed between the variants before") for warning in health.warnings
    )
    assert health.ok, "a covariate that differs asks for a look at it; only shares of units make results invalid"
