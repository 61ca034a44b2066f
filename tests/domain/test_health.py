from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from abplatform.domain.health import LEVEL, check_health
from tests.builders import a_plan, an_experiment, an_external_experiment
from tests.domain.aggregations import a_rate, an_aggregation, an_amount

CLUSTERED = an_external_experiment(
    unit_type="village", analysis_unit="household", covariates=("history",), plan=a_plan(method="fixed")
)


def rates(control: int, treatment: int) -> tuple[Any, ...]:
    return a_rate("control", control, control // 10), a_rate("treatment", treatment, treatment // 10)


def test_shares_as_planned_are_sound() -> None:
    health = check_health(an_experiment(), an_aggregation(*rates(10_012, 9_988)))
    # Pearson's chi-square by scipy.
    assert health.sample_ratio.p_value == pytest.approx(stats.chisquare([10_012, 9_988]).pvalue, rel=1e-9)
    assert health.ok
    assert health.warnings == ()


def test_a_sample_ratio_mismatch_makes_the_data_unsound() -> None:
    health = check_health(an_experiment(), an_aggregation(*rates(10_000, 9_000)))
    assert not health.ok
    assert any("Sample ratio mismatch" in warning for warning in health.warnings)


def test_a_mismatch_among_the_analysed_alone_counts_too() -> None:
    lopsided = an_aggregation(*rates(10_000, 9_000), exposed={"control": 10_000, "treatment": 10_000})
    health = check_health(an_experiment(), lopsided)
    assert health.sample_ratio.p_value == pytest.approx(1.0)
    assert not health.ok
    assert health.sample_ratio.analysed is not None
    assert not health.sample_ratio.analysed.ok


def test_evidence_of_a_mismatch_once_seen_stays() -> None:
    broken = check_health(an_experiment(), an_aggregation(*rates(10_000, 9_000)))
    later = check_health(an_experiment(), an_aggregation(*rates(100_000, 100_000)), previous=broken)
    assert not later.ok
    assert later.sample_ratio.p_value == pytest.approx(1.0)


@pytest.mark.parametrize("count", [None, 0, 12])
def test_units_of_earlier_phases_are_counted_and_warn_of_nothing(count: int | None) -> None:
    health = check_health(an_experiment(), an_aggregation(*rates(5_000, 5_000), earlier_phase_units=count))
    assert (health.earlier_phase_units, health.multi_variant_units, health.warnings) == (count, 0, ())


def test_units_in_two_variants_are_counted_and_their_shares_compared() -> None:
    seen = an_aggregation(
        *rates(5_000, 5_000),
        exposed={"control": 5_200, "treatment": 5_100},
        multi_variant={"control": 200, "treatment": 100},
    )
    health = check_health(an_experiment(), seen)
    assert health.multi_variant_units == 300
    table = [[200, 100], [5_000, 5_000]]
    assert health.multi_variant_p_value == pytest.approx(
        stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9
    )
    assert health.multi_variant_p_value is not None
    assert health.multi_variant_p_value < LEVEL
    assert any("300 units" in warning for warning in health.warnings)
    assert any("share differs" in warning for warning in health.warnings)


def test_clusters_with_units_in_several_variants_are_counted_with_all_their_units() -> None:
    mixed = an_aggregation(
        *rates(90, 90),
        exposed={"control": 120, "treatment": 120},
        exposed_clusters={"control": 20, "treatment": 20},
        analysed_clusters={"control": 15, "treatment": 15},
        multi_variant_clusters={"control": 5, "treatment": 5},
    )
    health = check_health(replace(CLUSTERED, covariates=()), mixed)
    assert health.multi_variant_units == 60
    assert "10 clusters have units in several variants; all their 60 units are left out." in health.warnings


def test_a_covariate_that_differs_before_the_exposure_is_named() -> None:
    chance = np.random.default_rng(3)
    arms = [chance.normal(mean, 1, 2_000) for mean in (5.0, 5.5)]
    covariates = tuple(
        an_amount(variant, values, name="history")
        for variant, values in zip(("control", "treatment"), arms, strict=True)
    )
    definition = an_external_experiment(covariates=("history",))
    health = check_health(definition, an_aggregation(*rates(2_000, 2_000), covariates=covariates))
    (balance,) = health.covariates
    assert balance.p_value == pytest.approx(stats.ttest_ind(*arms, equal_var=False).pvalue, rel=1e-6)
    assert any(warning.startswith("history differed") for warning in health.warnings)


def test_a_covariate_and_a_metric_of_one_name_are_told_apart_in_the_whole_and_not_compared_in_slices() -> None:
    before = {"before_mean": 0.5, "before_m2": 9.0, "before_c": 0.0}
    cells = [replace(cell, name="history", **before) for cell in rates(2_000, 2_000)]
    covariates = tuple(an_amount(cell.variant, np.arange(2_000.0), name="history") for cell in cells)
    cells[1] = replace(cells[1], before_mean=0.7)
    definition = an_external_experiment(covariates=("history",))
    whole = check_health(definition, an_aggregation(*cells, covariates=covariates))
    assert [(each.covariate, each.source) for each in whole.covariates] == [
        ("history", "attribute"),
        ("history", "metric"),
    ]
    assert [warning[:29] for warning in whole.warnings] == ["The metric history differed b"]
    slices = [replace(cell, slice="web") for cell in cells]
    sliced = an_aggregation(*slices, covariates=tuple(replace(cell, slice="web") for cell in covariates))
    assert check_health(definition, sliced).covariates == ()


def test_the_balance_of_clusters_is_tested_over_clusters() -> None:
    # A/A with a strong effect of the cluster: tested over units, 4 of 10 such experiments would warn.
    chance = np.random.default_rng(4)
    warned = 0
    for _ in range(200):
        cells = []
        for variant in ("control", "treatment"):
            clusters = chance.normal(0, 1, 40)[:, None] + chance.normal(0, 1, (40, 30))
            sums = clusters.sum(axis=1)
            cells.append(
                an_amount(
                    variant,
                    clusters.ravel(),
                    name="history",
                    clusters=40,
                    cluster_mean_y=float(sums.mean()),
                    cluster_mean_d=30.0,
                    cluster_m2_y=float(sums.var() * 40),
                    cluster_m2_d=0.0,
                    cluster_c_yd=0.0,
                )
            )
        seen = an_aggregation(
            *rates(1_200, 1_200),
            covariates=tuple(cells),
            exposed_clusters={"control": 40, "treatment": 40},
            analysed_clusters={"control": 40, "treatment": 40},
            multi_variant_clusters={"control": 0, "treatment": 0},
        )
        warned += any(warning.startswith("history differed") for warning in check_health(CLUSTERED, seen).warnings)
    # Binomial with p = .001 and 200 experiments: 4 or more have a probability below 1e-4.
    assert warned <= 3


def test_mismatched_exposures_and_unknown_variants_are_told() -> None:
    seen = an_aggregation(*rates(100, 100), mismatched_exposures=7, unknown_variants={"green": 2})
    health = check_health(an_experiment(), seen)
    assert health.mismatched_exposures == 7
    assert any("7 exposures carry another variant" in warning for warning in health.warnings)
    assert any("green" in warning for warning in health.warnings)
    assert not any("held out" in warning for warning in health.warnings)
    assert health.ok


def test_exposures_of_units_that_should_have_none_are_told_apart() -> None:
    health = check_health(
        an_experiment(), an_aggregation(*rates(100, 100), mismatched_exposures=7, undrawn_exposures=3)
    )
    assert health.mismatched_exposures == 7
    assert health.warnings[1] == "3 of them are of units that should have none: outside the coverage, or held out."


@pytest.mark.parametrize(("units", "nonzero", "warned"), [(49, 0, False), (50, 0, True), (50, 1, False)])
def test_a_metric_that_nobody_has_is_named(units: int, nonzero: int, warned: bool) -> None:
    arms = a_rate("control", units, 0), a_rate("treatment", units, nonzero)
    health = check_health(an_experiment(), an_aggregation(*arms))
    (name,) = {cell.name for cell in arms}
    sentence = f"Nobody in any variant has {name}: make sure that its event is sent, under that name."
    assert (health.ok, health.warnings) == (True, (sentence,) if warned else ())
