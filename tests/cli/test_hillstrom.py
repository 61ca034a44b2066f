"""A real experiment, from file to readout by two commands, against independent computations on the raw file."""

from __future__ import annotations

import json
import resource
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

from tests.cli.commands import run
from tests.hillstrom import FILE, read_hillstrom

CONTROL, ARMS = "No E-Mail", ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
test_proportions_2indep.__test__ = False  # a function of statsmodels, not a test


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """The raw file."""
    return read_hillstrom()


@pytest.fixture(scope="module")
def document(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the two commands of the issue give."""
    home = tmp_path_factory.mktemp("hillstrom") / "home"
    columns = ["--conversion", "visit", "--conversion", "conversion", "--sum", "spend"]
    before = _seconds_of_children()
    done = run(
        home,
        *("import", str(FILE), "--variant", "segment", "--control", CONTROL, *columns),
        *("--dimension", "channel", "--covariate", "history"),
    )
    assert done.returncode == 0, done.stderr
    shown = run(home, "readout", "hillstrom", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    # Processor time, so that a busy machine does not decide; both commands together.
    assert _seconds_of_children() - before < 15
    return json.loads(shown.stdout)


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _metric(document: Any, name: str) -> Any:
    return next(metric for metric in document["metrics"] if metric["metric"] == name)


@pytest.mark.parametrize(
    ("metric", "means"),
    [
        ("visit", (0.106167, 0.182757, 0.151400)),
        ("conversion", (0.005726, 0.012531, 0.008837)),
        ("spend", (0.652789, 1.422617, 1.077202)),
    ],
)
def test_units_and_means_are_the_published_ones(document: Any, metric: str, means: tuple[float, ...]) -> None:
    arms = _metric(document, metric)["variants"]
    assert [arm["variant"] for arm in arms] == list(ARMS)
    assert [arm["units"] for arm in arms] == [21_306, 21_307, 21_387]
    assert [round(arm["mean"], 6) for arm in arms] == list(means)


def test_the_first_outcome_named_is_primary_and_the_others_are_secondary(document: Any) -> None:
    assert [(metric["metric"], metric["role"]) for metric in document["metrics"]] == [
        ("visit", "primary"),
        ("conversion", "secondary"),
        ("spend", "secondary"),
    ]


def test_sums_are_exact(document: Any, frame: pd.DataFrame) -> None:
    cents = (frame.spend * 100).round().astype("int64").groupby(frame.segment).sum()
    for arm in _metric(document, "spend")["variants"]:
        assert round(float(arm["sum"]) * 100) == cents[arm["variant"]]
        assert arm["sum"].partition(".")[2][:2] == f"{cents[arm['variant']] % 100:02d}"


def test_there_is_no_sample_ratio_mismatch(document: Any, frame: pd.DataFrame) -> None:
    ratio = document["health"]["sample_ratio"]
    assert ratio["ok"]
    assert document["health"]["ok"]
    assert ratio["p_value"] == pytest.approx(stats.chisquare(frame.segment.value_counts()).pvalue, rel=1e-9)


@pytest.mark.parametrize("arm", ARMS[1:])
@pytest.mark.parametrize("metric", ["visit", "conversion"])
def test_rates_agree_with_statsmodels(document: Any, frame: pd.DataFrame, metric: str, arm: str) -> None:
    counts = frame.groupby("segment")[metric].agg(["sum", "count"])
    numbers = (*counts.loc[arm], *counts.loc[CONTROL])
    low, high = confint_proportions_2indep(*numbers, compare="diff", method="wald")
    p_value = test_proportions_2indep(*numbers, compare="diff", method="wald").pvalue
    found = _comparison(document, metric, arm)
    assert found["absolute"]["lower"] == pytest.approx(low, rel=1e-9)
    assert found["absolute"]["upper"] == pytest.approx(high, rel=1e-9)
    assert found["p_value"] == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("arm", ARMS[1:])
def test_spend_agrees_with_scipys_welch_test(document: Any, frame: pd.DataFrame, arm: str) -> None:
    test = stats.ttest_ind(frame.spend[frame.segment == arm], frame.spend[frame.segment == CONTROL], equal_var=False)
    interval = test.confidence_interval(0.95)
    found = _comparison(document, "spend", arm)
    assert found["absolute"]["lower"] == pytest.approx(interval.low, rel=1e-9)
    assert found["absolute"]["upper"] == pytest.approx(interval.high, rel=1e-9)
    assert found["p_value"] == pytest.approx(test.pvalue, rel=1e-9)


@pytest.mark.parametrize("arm", ARMS[1:])
@pytest.mark.parametrize("metric", ["visit", "conversion", "spend"])
def test_relative_intervals_are_the_lifts_that_the_test_does_not_reject(
    document: Any, frame: pd.DataFrame, metric: str, arm: str
) -> None:
    """Fieller's bounds by definition, found by bisection instead of by the quadratic formula."""
    treated, control = frame[metric][frame.segment == arm], frame[metric][frame.segment == CONTROL]
    # A rate's variance is p (1 - p), an amount's has n - 1 below.
    below = 1 if metric == "spend" else 0
    shares = treated.var(ddof=below) / len(treated), control.var(ddof=below) / len(control)
    critical = stats.norm.isf(0.025) if metric != "spend" else stats.t.isf(0.025, _welch_freedom(treated, control))

    def distance(lift: float) -> float:
        gap = treated.mean() - (1 + lift) * control.mean()
        return abs(gap) / np.sqrt(shares[0] + (1 + lift) ** 2 * shares[1]) - critical

    estimate = treated.mean() / control.mean() - 1
    found = _comparison(document, metric, arm)["relative"]
    assert found["estimate"] == pytest.approx(estimate, rel=1e-12)
    assert found["lower"] == pytest.approx(optimize.brentq(distance, -1, estimate, xtol=1e-14), rel=1e-8)
    assert found["upper"] == pytest.approx(optimize.brentq(distance, estimate, 20, xtol=1e-14), rel=1e-8)


def _welch_freedom(first: pd.Series, second: pd.Series) -> float:
    return float(stats.ttest_ind(first, second, equal_var=False).df)


def test_p_values_are_adjusted_by_bonferroni_and_benjamini_hochberg(document: Any) -> None:
    primary = [_comparison(document, "visit", arm) for arm in ARMS[1:]]
    assert [each["adjusted_p_value"] for each in primary] == [pytest.approx(2 * each["p_value"]) for each in primary]
    secondary = [_comparison(document, metric, arm) for metric in ("conversion", "spend") for arm in ARMS[1:]]
    _, adjusted, _, _ = multipletests([each["p_value"] for each in secondary], method="fdr_bh")
    assert [each["adjusted_p_value"] for each in secondary] == pytest.approx(list(adjusted), rel=1e-9)


def test_the_covariate_is_balanced(document: Any, frame: pd.DataFrame) -> None:
    (history,) = document["health"]["covariates"]
    means = frame.groupby("segment").history.mean()
    assert history["means"] == pytest.approx({arm: means[arm] for arm in ARMS}, rel=1e-9)
    assert 0.5 < history["p_value"] < 0.9, "stats.f_oneway gives 0.70"


def _comparison(document: Any, metric: str, arm: str) -> Any:
    return next(each for each in _metric(document, metric)["comparisons"] if each["variant"] == arm)
