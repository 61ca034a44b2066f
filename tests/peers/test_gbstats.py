"""The same numbers as GrowthBook's gbstats where both are right; the differences where they are not, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from abplatform.stats import (
    ArmStats,
    Comparison,
    JointStats,
    MeanStats,
    ProportionStats,
    RatioStats,
    adjust,
    bayes,
    fixed,
    group_sequential,
    sequential,
)

REFERENCES = json.loads(Path(__file__).with_name("references.json").read_text(encoding="utf-8"))


def mean_arms(case: dict[str, Any]) -> list[MeanStats]:
    return [MeanStats(*arm) for arm in case["arms"]]


def ratio_arms(case: dict[str, Any]) -> list[RatioStats]:
    return [RatioStats(n, y, d, m2_y=m2_y, m2_d=m2_d, c_yd=c_yd) for n, y, d, m2_y, m2_d, c_yd in case["arms"]]


def assert_equal(ours: Comparison, theirs: dict[str, Any], *, rel: float = 1e-9) -> None:
    cell = ours.cell()
    absolute, relative = theirs["absolute"], theirs["relative"]
    assert cell.absolute.estimate == pytest.approx(absolute["estimate"], rel=rel)
    assert [cell.absolute.lower, cell.absolute.upper] == pytest.approx(absolute["interval"], rel=rel)
    assert cell.p_value == pytest.approx(absolute["p_value"], rel=1e-6)
    assert cell.relative.estimate is not None
    # They divide by the signed mean of control.
    sign = np.sign(absolute["estimate"] / relative["estimate"])
    assert cell.relative.estimate == pytest.approx(sign * relative["estimate"], rel=rel)
    bounds = sorted(sign * bound for bound in relative["interval"])
    assert [cell.relative.lower, cell.relative.upper] == pytest.approx(bounds, rel=rel)


@pytest.mark.parametrize("case", REFERENCES["means"])
def test_welch_t_and_delta_intervals_of_means_equal_gbstats(case: dict[str, Any]) -> None:
    assert_equal(fixed.compare(*mean_arms(case), relative="delta"), case)


@pytest.mark.parametrize("case", REFERENCES["ratios"])
def test_delta_method_of_ratios_equals_gbstats(case: dict[str, Any]) -> None:
    assert_equal(fixed.compare(*ratio_arms(case), relative="delta"), case)


@pytest.mark.parametrize("case", REFERENCES["rates"])
def test_rates_equal_gbstats_but_for_its_t_quantile(case: dict[str, Any]) -> None:
    # They take the binomial variance with a t distribution of n - 1 degrees of freedom, we take the normal: the
    # ratio of the quantiles is what differs.
    arms: list[ArmStats] = [ProportionStats(n, hits) for n, hits in case["arms"]]
    cell = fixed.compare(*arms).cell()
    n = sum(units for units, _ in case["arms"])
    low, high = case["absolute"]["interval"]
    assert cell.absolute.upper is not None
    assert cell.absolute.lower is not None
    stretch = (high - low) / (cell.absolute.upper - cell.absolute.lower)
    assert 1 < stretch < float(special.stdtrit(n / 4, 0.975) / special.ndtri(0.975))
    assert cell.absolute.estimate == pytest.approx(case["absolute"]["estimate"], rel=1e-12)


@pytest.mark.parametrize("case", REFERENCES["means"])
def test_the_confidence_sequence_equals_gbstats_at_its_tuning(case: dict[str, Any]) -> None:
    theirs = case["sequential"]
    treatment, control = mean_arms(case)
    n = float(treatment.n + control.n)
    difference = fixed.compare(treatment, control).absolute.estimate
    error = float(np.sqrt(treatment.variance + control.variance))
    half = float(sequential.critical_value(n, theirs["rho2"], 0.05)) * error
    assert [difference - half, difference + half] == pytest.approx(theirs["interval"], rel=1e-9)
    p_value = float(sequential.p_value(difference / error, n, theirs["rho2"]))
    assert p_value == pytest.approx(theirs["p_value"], rel=1e-9)


@pytest.mark.parametrize("case", REFERENCES["means"])
def test_gbstats_tunes_within_four_percent_of_the_optimum(case: dict[str, Any]) -> None:
    # Its closed form is the first step of the iteration that Lambert's function solves; the width hardly changes.
    ours = float(sequential.tune_rho2(20_000, 0.05))
    assert case["sequential"]["rho2"] == pytest.approx(ours, rel=0.04)


def test_gbstats_tests_another_hypothesis_on_the_relative_scale_and_we_do_not() -> None:
    # Its p-value of a lift comes from the delta method: .0003 where the difference itself has 1e-7.
    case = REFERENCES["means"][1]
    assert case["relative"]["p_value"] > 1000 * case["absolute"]["p_value"]
    cell = fixed.compare(*mean_arms(case), relative="delta").cell()
    assert cell.p_value == pytest.approx(case["absolute"]["p_value"], rel=1e-6)


@pytest.mark.parametrize("case", REFERENCES["means"])
def test_the_normal_posterior_equals_gbstats(case: dict[str, Any]) -> None:
    theirs = case["bayesian"]
    mean, scale = theirs["prior"]
    cell = bayes.compare(*mean_arms(case), prior=bayes.NormalPrior(mean, scale)).cell()
    assert cell.absolute.estimate == pytest.approx(theirs["estimate"], rel=1e-9)
    assert [cell.absolute.lower, cell.absolute.upper] == pytest.approx(theirs["interval"], rel=1e-9, abs=1e-12)
    assert cell.chance_to_win == pytest.approx(theirs["chance_to_win"], rel=1e-9)
    # Its risk comes from a truncated normal mean, which keeps fewer digits.
    assert cell.expected_loss == pytest.approx(theirs["risk"], rel=1e-6, abs=1e-12)


def joint_arms(case: dict[str, Any]) -> list[JointStats]:
    return [JointStats(n, [y, x], [[m2_y, c_yx], [c_yx, m2_x]]) for n, y, x, m2_y, m2_x, c_yx in case["arms"]]


@pytest.mark.parametrize("case", REFERENCES["adjusted"])
def test_cuped_at_its_slope_equals_gbstats(case: dict[str, Any]) -> None:
    # It takes the slope of all units together, so that the difference between the arms is part of it.
    treatment, control = joint_arms(case)
    together = (treatment + control).cross
    theta = together[0, 1] / together[1, 1]
    arms = [
        MeanStats(n, y - theta * x, m2_y - 2 * theta * c_yx + theta**2 * m2_x)
        for n, y, x, m2_y, m2_x, c_yx in case["arms"]
    ]
    cell = fixed.compare(*arms).cell()
    assert cell.absolute.estimate == pytest.approx(case["absolute"]["estimate"], rel=1e-9)
    assert [cell.absolute.lower, cell.absolute.upper] == pytest.approx(case["absolute"]["interval"], rel=1e-9)


@pytest.mark.parametrize("case", REFERENCES["adjusted"])
def test_cuped_agrees_with_gbstats_to_second_order(case: dict[str, Any]) -> None:
    # Slopes within arms and across them differ by the square of the arms' difference, degrees of freedom by one.
    cell = fixed.compare(*adjust.cuped(*joint_arms(case), theta="pooled")).cell()
    low, high = case["absolute"]["interval"]
    assert [cell.absolute.lower, cell.absolute.upper] == pytest.approx([low, high], abs=0.01 * (high - low))


@pytest.mark.parametrize("case", REFERENCES["bounds"])
def test_bounds_equal_spotify_to_its_accuracy(case: dict[str, Any]) -> None:
    # Its trapezoids are coarse: at twenty looks the second bound should be 4.08177 by adaptive quadrature of the two
    # normal variables, and is 4.0809 there.
    spending = group_sequential.Spending("power", case["exponent"])
    found = group_sequential.efficacy_bounds(case["fractions"], alpha=case["alpha"], spending=spending).critical
    assert found == pytest.approx(case["bounds"], abs=1e-3)
