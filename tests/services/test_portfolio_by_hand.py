"""A holdout and past experiments once more in pandas, SciPy and statsmodels: who counts, and what is left of luck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact, name_holdout
from abplatform.domain.experiment import Amount, MetricUse, Variant
from abplatform.domain.metric import Measure, Window
from abplatform.domain.portfolio import PastEffect
from abplatform.services.define import create_experiment, create_metric
from abplatform.services.hold_out import create_holdout, end_holdout
from abplatform.services.read_holdout import HoldoutQuestion
from tests.builders import (
    a_conversion_fact,
    a_holdout,
    a_metric,
    a_metric_use,
    a_plan,
    an_exposure_fact,
    an_external_experiment,
)
from tests.services.growing import of_time, put
from tests.services.ledger import AS_OF, DAY, HOUR, TICK
from tests.services.lives import take
from tests.services.reckoning import contrast, level
from tests.warehouse.looking import a_platform

METRICS = {
    each.key: each
    for each in (
        a_metric("opened", event="order", window=Window(end=3 * DAY)),
        a_metric("amount", kind="sum", event="order", window=Window(end=3 * DAY)),
        a_metric("per-order", kind="ratio", event="order", window=None, denominator=Measure(event="order")),
    )
}
MADE, ENDED = AS_OF - 9 * DAY, AS_OF - DAY


@pytest.fixture(name="platform")
def _platform(tmp_path: Path) -> Iterator[Platform]:
    with a_platform(tmp_path) as made:
        with made.uow.begin() as work:
            for metric in METRICS.values():
                create_metric(work, "default", metric, now=MADE)
        yield replace(made, clock=lambda: AS_OF)


def orders(rng: np.random.Generator, unit: str, first: datetime, lift: float) -> Iterator[dict[str, Any]]:
    """Some before, and at the very ends of the window."""
    for _ in range(int(rng.poisson(1.2))):
        edge = [0 * DAY, 3 * DAY, 3 * DAY - TICK, timedelta(days=float(rng.uniform(-2, 6)))][int(rng.choice(4))]
        cents = int(rng.gamma(2.0, 500 * lift)) + 1
        yield {"unit": unit, "at": first + edge, "cents": cents}


def facts(checks: pd.DataFrame, events: pd.DataFrame) -> Iterator[ExposureFact | ConversionFact]:
    numbers = count()
    for row in checks.itertuples():
        yield an_exposure_fact(
            f"x-{row.experiment}-{next(numbers)}",
            experiment=row.experiment,
            unit=row.unit,
            variant=row.variant,
            expected_variant=None,
            **of_time(row.at.to_pydatetime()),
        )
    for row in events.itertuples():
        value = Decimal(row.cents) / 100
        happened = of_time(row.at.to_pydatetime())
        yield a_conversion_fact(f"c-{next(numbers)}-{row.unit}", event="order", unit=row.unit, value=value, **happened)


def value_units(key: str, units: pd.DataFrame, events: pd.DataFrame, *, until: datetime) -> pd.DataFrame:
    """Values of units whose window has closed by a time, from what happened before it."""
    found, window = units.copy(), METRICS[key].window
    if window is not None:
        found = found[found["first"] + window.end <= until]
    rows = events.join(found, on="unit", how="inner")
    rows = rows[(rows["at"] >= rows["first"]) & (rows["at"] < until)]
    if window is not None:
        rows = rows[rows["at"] < rows["first"] + window.end]
    found["d"] = rows.groupby("unit").size().reindex(found.index).fillna(0.0)
    found["y"] = (rows.groupby("unit")["cents"].sum() / 100).reindex(found.index).fillna(0.0)
    return found.assign(y=found["d"].clip(upper=1.0)) if key == "opened" else found


def test_a_holdout_counts_who_was_checked_between_its_beginning_and_its_end(platform: Platform) -> None:
    """From the first check on that is in it; what comes at its end is out of it, and windows open then stay so."""
    rng, checks, events = np.random.default_rng(6), [], []
    for number in range(900):
        unit, group = f"u-{number}", "held_out" if rng.random() < 0.25 else "open"
        first = MADE + timedelta(days=float(rng.uniform(0, 8)))
        first = {0: MADE, 1: ENDED - TICK, 2: ENDED, 3: ENDED - 3 * DAY}.get(number % 30, first)
        times = [first, first + HOUR, MADE - TICK][: 1 + number % 3]
        checks += [{"experiment": name_holdout("q3"), "unit": unit, "variant": group, "at": at} for at in times]
        if number % 50 == 0:  # in both groups
            other = {"held_out": "open", "open": "held_out"}[group]
            checks.append(checks[-1] | {"variant": other, "at": first + HOUR})
        events += orders(rng, unit, first, 1.3 if group == "open" else 1.0)
    seen, done = pd.DataFrame(checks), pd.DataFrame(events)
    done = done[done["at"] < AS_OF]
    with platform.uow.begin() as work:
        create_holdout(work, "default", a_holdout(share=0.25), now=MADE)
        end_holdout(work, "default", "q3", now=ENDED)
    put(platform, facts(seen, done))

    question = HoldoutQuestion(metrics=tuple(METRICS), method="fixed")
    answer = platform.explorer.holdout_results("default", "q3", question=question)

    inside = seen[(seen["at"] >= MADE) & (seen["at"] < ENDED)].sort_values("at", kind="stable").groupby("unit")
    units = inside.first()[inside["variant"].nunique() == 1].rename(columns={"at": "first"})
    sizes = units.groupby("variant").size()
    assert answer.health.units == sizes.to_dict()
    assert answer.health.multi_variant_units == (inside["variant"].nunique() > 1).sum() > 5
    p_values = []
    for found in answer.metrics:
        rows = value_units(found.metric, units, done, until=ENDED)
        arms = {str(name): arm for name, arm in rows.groupby("variant")}
        for variant in found.variants:
            arm = arms[variant.variant]
            assert (variant.units, variant.open_units) == (len(arm), sizes[variant.variant] - len(arm))
            assert float(variant.sum) == pytest.approx(arm["y"].sum(), rel=1e-12)
        (comparison,) = found.comparisons
        parts = [level(METRICS[found.metric], arms[name]) for name in ("open", "held_out")]
        wanted = contrast(parts, [1, -1])
        assert (comparison.absolute.lower, comparison.absolute.upper) == pytest.approx(wanted.bounds, rel=1e-9)
        if found.metric == "opened":
            won = [each for name in ("open", "held_out") for each in (arms[name]["y"].sum(), len(arms[name]))]
            assert wanted.bounds == pytest.approx(confint_proportions_2indep(*won, compare="diff", method="wald"))
        p_values.append((wanted.p_value, comparison.adjusted_p_value))
    assert [each for _, each in p_values] == pytest.approx(multipletests([p for p, _ in p_values], method="fdr_bh")[1])


@pytest.fixture(name="past")
def _past(platform: Platform) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Five experiments that were looked at and stopped; their plans adjust by CUPED, and two have two treatments."""
    rng, checks, events = np.random.default_rng(12), [], []
    for number in range(5):
        key, arms = f"past-{number}", ("control", "a", "b")[: 2 + number % 2]
        for index in range(300 + 60 * number):
            unit, arm = f"{key}-{index}", arms[index % len(arms)]
            first = AS_OF - timedelta(days=float(rng.uniform(0, 9)))
            checks.append({"experiment": key, "unit": unit, "variant": arm, "at": first})
            events += orders(rng, unit, first, {"control": 1.0, "a": 0.9 + 0.15 * number, "b": 0.8}[arm])
        definition = an_external_experiment(
            key,
            variants=tuple(Variant(key=arm) for arm in arms),
            metrics=(
                a_metric_use("opened"),
                a_metric_use("amount", role="secondary", mde=None),
                MetricUse(metric="per-order", role="guardrail", non_inferiority_margin=Amount(relative=0.2)),
            ),
            plan=a_plan(method="fixed", planned_units=400, cuped=True),
            dimensions=(),
        )
        with platform.uow.begin() as work:
            create_experiment(work, "default", definition, now=MADE)
            take(work, key, "start", now=MADE)
    seen, done = pd.DataFrame(checks), pd.DataFrame(events)
    done = done[done["at"] < AS_OF]
    put(platform, facts(seen, done))
    for key in seen["experiment"].unique():
        platform.results("default", key)
        with platform.uow.begin() as work:
            take(work, key, "stop", now=AS_OF)
    return seen, done


def test_a_portfolio_shrinks_effects_as_a_sum_over_a_fine_grid_does(
    platform: Platform, past: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """Raw effects by the delta method, without CUPED; the population by restricted likelihood."""
    seen, done = past
    units = seen.set_index("unit").rename(columns={"at": "first"})
    for key in METRICS:
        rows = value_units(key, units, done, until=AS_OF)
        answer = platform.explorer.portfolio("default", key)
        assert len(answer.effects) == 7
        errors = [check_raw(key, each, rows[rows["experiment"] == each.experiment]) for each in answer.effects]
        y, s = np.array([each.raw.estimate for each in answer.effects]), np.array(errors)
        fitted = fit(y, s)
        assert answer.population is not None
        told = (answer.population.mean, answer.population.scale, answer.population.mean_standard_error)
        assert told == pytest.approx(fitted, rel=1e-5, abs=1e-7)
        for found, wanted in zip(answer.effects, shrink(y, s), strict=True):
            assert found.shrunken is not None
            shown = (found.shrunken.estimate, found.shrunken.lower, found.shrunken.upper, found.weight)
            assert shown == pytest.approx(wanted, abs=1e-5)


def check_raw(key: str, found: PastEffect, rows: pd.DataFrame) -> float:
    """Compare a raw effect; returns its standard error, as that of a normal interval of that width."""
    arms = [level(METRICS[key], rows[rows["variant"] == name]) for name in (found.variant, "control")]
    ratio = arms[0].estimate / arms[1].estimate
    error = np.sqrt(arms[0].variance + ratio**2 * arms[1].variance) / arms[1].estimate
    half = stats.t.ppf(0.975, contrast(arms, [1, -1]).freedom) * error
    wanted = (ratio - 1, ratio - 1 - half, ratio - 1 + half)
    assert (found.raw.estimate, found.raw.lower, found.raw.upper) == pytest.approx(wanted, rel=1e-9)
    return float(half / stats.norm.ppf(0.975))


def fit(y: np.ndarray[Any, Any], s: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Mean, scale and standard error of the mean where the restricted likelihood is largest."""

    def loss(scale: float) -> float:
        weights = 1 / (s**2 + scale**2)
        rest = (weights * (y - np.average(y, weights=weights)) ** 2).sum()
        return float(rest - np.log(weights).sum() + np.log(weights.sum()))

    scale = float(optimize.minimize_scalar(loss, bounds=(0, 5), method="bounded", options={"xatol": 1e-10}).x)
    weights = 1 / (s**2 + scale**2)
    return float(np.average(y, weights=weights)), scale, float(weights.sum() ** -0.5)


def shrink(y: np.ndarray[Any, Any], s: np.ndarray[Any, Any]) -> Iterator[tuple[float, ...]]:
    """Posterior mean, ends of the credible interval and weight, under flat priors of the mean and the scale."""
    scales = ((np.arange(40_000) + 0.5) * 40 * s.max() / 40_000)[:, None]
    weights = 1 / (s**2 + scales**2)
    means, spread = (weights * y).sum(axis=1) / weights.sum(axis=1), 1 / weights.sum(axis=1)
    fits = (weights * (y - means[:, None]) ** 2).sum(axis=1)
    logs = (np.log(weights).sum(axis=1) + np.log(spread) - fits) / 2
    mass = np.exp(logs - logs.max())
    mass /= mass.sum()
    for index in range(y.size):
        own = scales[:, 0] ** 2 * weights[:, index]
        centre = own * y[index] + (1 - own) * means
        sd = np.sqrt(own * s[index] ** 2 + (1 - own) ** 2 * spread)

        def end(level_: float, centre: Any = centre, sd: Any = sd) -> float:
            def beyond(value: float) -> float:
                return float((mass * stats.norm.cdf((value - centre) / sd)).sum() - level_)

            return float(optimize.brentq(beyond, -20, 20))

        yield float((mass * centre).sum()), end(0.025), end(0.975), float((mass * own).sum())
