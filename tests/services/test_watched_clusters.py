"""Clusters that are watched, of a real lake: sequences over them, guardrails, and views of other methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.experiment import Amount, MetricUse
from abplatform.domain.metric import Window
from abplatform.errors import InvalidInput
from abplatform.services.fingerprint import fingerprint
from abplatform.services.trace import CurveQuestion
from tests.builders import (
    a_conversion_fact,
    a_draft,
    a_metric,
    a_metric_use,
    a_plan,
    an_exposure_fact,
    an_external_experiment,
)
from tests.domain.aggregations import a_rate, an_aggregation
from tests.services.growing import of_time, put
from tests.warehouse.looking import a_platform, begin

PLANNED, ALPHA = 600, 0.05
INVITED = a_metric("invited", kind="count", window=Window(end=timedelta(days=7)))
LATE = a_metric("late", direction="decrease", window=Window(end=timedelta(days=60)))
CIRCLES = an_external_experiment(
    metrics=(
        a_metric_use("invited"),
        MetricUse(metric="late", role="guardrail", non_inferiority_margin=Amount(absolute=0.05)),
    ),
    unit_type="referral_circle",
    analysis_unit="user_id",
    plan=a_plan(planned_clusters=PLANNED),
)
Rows = NDArray[np.float64]


@pytest.fixture(name="platform")
def _platform(tmp_path: Path) -> Iterator[Platform]:
    with a_platform(tmp_path) as platform:
        yield platform


def circles(platform: Platform, count: int, *, effect: float, harm: float) -> Rows:
    """Put circles of 1 to 5 customers into the lake; gives variant, circle and number of each customer.

    Their windows of a week have closed, those of two months have not. Nine of ten treated circles have the harm.
    """
    chance = np.random.default_rng(8)
    at = platform.now() - timedelta(days=20)
    after = of_time(at + timedelta(days=1))
    facts: list[ExposureFact | ConversionFact] = []
    rows = []
    for circle in range(2 * count):
        treated = circle % 2
        mood, late = chance.gamma(2.0, 0.5) + effect * treated, chance.random() < 0.3 + harm * treated
        for member in range(chance.integers(1, 6)):
            unit, invited = f"{circle}/{member}", int(chance.poisson(mood))
            group = {"unit": unit, "cluster": f"circle {circle}", "variant": ("control", "treatment")[treated]}
            facts.append(an_exposure_fact(unit, experiment="imported", **group, **of_time(at)))
            facts += [a_conversion_fact(f"{unit} {n}", event="invited", unit=unit, **after) for n in range(invited)]
            if late and member == 0:
                facts.append(a_conversion_fact(f"{unit} late", event="late", unit=unit, **after))
            rows.append((treated, circle, invited))
    put(platform, facts)
    return np.array(rows, dtype=np.float64)


def level(rows: Rows, arm: int) -> tuple[float, float]:
    """Invitations per customer of an arm and the standard error of that, as a ratio of sums over circles."""
    mine = rows[rows[:, 0] == arm]
    _, place = np.unique(mine[:, 1], return_inverse=True)
    y, d = np.bincount(place, mine[:, 2]), np.bincount(place)
    ratio = y.sum() / d.sum()
    return ratio, np.std(y - ratio * d, ddof=1) / np.sqrt(y.size) / d.mean()


def critical_value(circles_seen: int, *, planned: float) -> float:
    """Theorem 2.2 of arXiv:2103.06476, with the rho that makes it least at the planned number found by a search."""

    def critical(log_rho2: float, n: float) -> float:
        u = n * np.exp(log_rho2)
        return float(np.sqrt((u + 1) / u * np.log((u + 1) / ALPHA**2)))

    tuned = optimize.minimize_scalar(lambda rho: critical(rho, planned), bounds=(-12, 2), method="bounded").x
    return critical(tuned, circles_seen)


def sequence(rows: Rows) -> tuple[float, float, float]:
    """Estimate and bounds of the effect, from the customers themselves."""
    (treated, error), (control, other) = level(rows, 1), level(rows, 0)
    half = critical_value(np.unique(rows[:, 1]).size, planned=PLANNED) * np.hypot(error, other)
    return treated - control, treated - control - half, treated - control + half


def test_the_interval_is_a_sequence_over_circles(platform: Platform) -> None:
    begin(platform, CIRCLES, metrics=[INVITED, LATE])
    rows = circles(platform, 230, effect=0.6, harm=0.0)

    found = platform.results("default", "imported")

    invited, late = found.metrics
    (comparison,) = invited.comparisons
    assert comparison.interval_kind == "confidence_sequence"
    wanted = pytest.approx(sequence(rows), rel=1e-6)
    assert (comparison.absolute.estimate, comparison.absolute.lower, comparison.absolute.upper) == wanted
    assert [each.clusters for each in invited.variants] == [230, 230]
    assert found.planned_clusters == PLANNED
    assert (comparison.verdict, comparison.warnings, invited.always_valid) == ("better", (), True)
    # No window of the guardrail has closed, and there is no harm yet.
    assert [(each.units, each.clusters) for each in late.variants] == [(0, 0), (0, 0)]
    assert late.comparisons[0].verdict == "not_computable"
    assert found.decision.recommendation == "continue"


def test_harm_shows_while_windows_are_open(platform: Platform) -> None:
    begin(platform, CIRCLES, metrics=[INVITED, LATE])
    circles(platform, 230, effect=0.0, harm=0.6)
    found = platform.results("default", "imported")
    assert found.metrics[1].comparisons[0].verdict == "worse"
    assert found.decision.recommendation == "roll_back"


def test_a_fixed_plan_that_names_no_clusters_is_not_watched(platform: Platform) -> None:
    """A sequence would have nothing to be tuned to that was fixed before the start."""
    plan = a_plan(method="fixed", planned_units=2_000)
    begin(platform, replace(CIRCLES, metrics=CIRCLES.uses("primary"), plan=plan), metrics=[INVITED, LATE])
    circles(platform, 230, effect=0.6, harm=0.0)
    with pytest.raises(InvalidInput, match=r"method: .*plan\.planned_clusters"):
        platform.results("default", "imported", method="sequential")
    assert platform.explorer.timeseries("default", "imported").method == "fixed"


def test_days_and_curves_of_watched_circles_are_those_of_the_look(platform: Platform) -> None:
    begin(platform, CIRCLES, metrics=[INVITED, LATE])
    rows = circles(platform, 230, effect=0.6, harm=0.0)
    series = platform.explorer.timeseries("default", "imported")
    (last,) = series.metrics[0].days[-1].comparisons
    wanted = pytest.approx(sequence(rows)[1:], rel=1e-6)
    assert (series.method, last.verdict) == ("sequential", "better")
    assert (last.absolute.lower, last.absolute.upper) == wanted

    curve = platform.explorer.curve("default", "imported", question=CurveQuestion(metric="invited", days=(7,)))
    (point,) = curve.points
    (compared,) = point.comparisons
    assert (compared.absolute.lower, compared.absolute.upper) == wanted
    for arm, variant in enumerate(point.variants):
        ratio, error = level(rows, arm)
        half = critical_value(230, planned=PLANNED / 2) * error
        assert (variant.value.lower, variant.value.upper) == pytest.approx((ratio - half, ratio + half), rel=1e-6)


def test_looks_from_before_clusters_were_counted_so_keep_their_names() -> None:
    draft = a_draft(definition=replace(CIRCLES, plan=a_plan(method="fixed")), status="running")
    before = a_rate("control", 100, 10, clusters=20, cluster_mean_y=0.5, cluster_mean_d=5.0)
    now = replace(before, cluster_nonzero=9, cluster_short=20)
    names = {fingerprint(draft, [INVITED], an_aggregation(cell)) for cell in (before, now)}
    assert len(names) == 1
    watched = replace(draft, definition=CIRCLES)
    assert fingerprint(watched, [INVITED], an_aggregation(now)) not in names
    fewer = replace(watched, definition=replace(CIRCLES, plan=a_plan(planned_clusters=PLANNED - 1)))
    assert len({fingerprint(each, [INVITED], an_aggregation(now)) for each in (watched, fewer)}) == 2
