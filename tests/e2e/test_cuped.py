"""A plan with CUPED from events in the lake to the result document, against regressions on the same raw numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from abplatform.bootstrap import Platform
from abplatform.readout.document import as_document
from abplatform.readout.text import as_text
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
from tests.services.lives import lead

UNITS = 1_500
CORRELATION = 0.7
DAY = timedelta(days=1)
SPEND = a_metric("spend", kind="sum", event="pay", window=None, cuped_lookback=28 * DAY)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The embedded default."""
    with a_platform(tmp_path_factory.mktemp("home")) as platform:
        yield platform


def draw() -> NDArray[np.float64]:
    """Spending before and after the exposure of each unit, in cents; every other unit is treated."""
    chance = np.random.default_rng(20)
    before = chance.normal(size=UNITS)
    after = CORRELATION * before + np.sqrt(1 - CORRELATION**2) * chance.normal(size=UNITS)
    after[1::2] += 0.1
    return np.round(10_000 + 1_000 * np.column_stack([before, after]))


def log_events(platform: Platform, key: str, cents: NDArray[np.float64]) -> None:
    """Exposures over ten days; before and after each the unit pays in two parts, and long before something else."""
    first = [NOW - 20 * DAY + timedelta(minutes=9 * unit) for unit in range(UNITS)]
    exposures = [
        an_exposure_fact(
            f"{key}-{unit}",
            experiment=key,
            unit=f"{key}-{unit}",
            timestamp=first[unit],
            variant=("control", "treatment")[unit % 2],
            expected_variant=None,
        )
        for unit in range(UNITS)
    ]
    parts = [(0, -28 * DAY, 0.25), (0, -timedelta(microseconds=1), 0.75), (1, 0 * DAY, 0.5), (1, 9 * DAY, 0.5)]
    payments: list[tuple[int, timedelta, Decimal]] = [
        (unit, delay, Decimal(int(cents[unit, column])) * Decimal(str(share)) / 100)
        for unit in range(UNITS)
        for column, delay, share in parts
    ]
    payments += [(unit, -28 * DAY - timedelta(microseconds=1), Decimal(unit**2)) for unit in range(UNITS)]
    conversions = [
        a_conversion_fact(
            f"{key}-{number}", event="pay", unit=f"{key}-{unit}", timestamp=first[unit] + delay, value=amount
        )
        for number, (unit, delay, amount) in enumerate(payments)
    ]
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", conversions))


@pytest.fixture(scope="module")
def cents(platform: Platform) -> NDArray[np.float64]:
    """What units spent, in the lake for two experiments that differ in nothing but CUPED."""
    drawn = draw()
    with platform.uow.begin() as work:
        create_metric(work, "default", SPEND, now=NOW)
    for key, cuped in (("plain", False), ("adjusted", True)):
        plan = a_plan(method="fixed", planned_units=UNITS, cuped=cuped)
        definition = an_experiment(key, assignment="external", metrics=(a_metric_use("spend"),), plan=plan)
        lead(platform.uow, definition, "start")
        log_events(platform, key, drawn)
    return drawn


def comparison(platform: Platform, key: str) -> dict[str, Any]:
    [metric] = as_document(platform.results("default", key))["metrics"]
    [found] = metric["comparisons"]
    return dict(found)


def test_the_estimate_is_that_of_least_squares(platform: Platform, cents: NDArray[np.float64]) -> None:
    found = comparison(platform, "adjusted")
    before, after = cents.T / 100
    treated = np.arange(UNITS) % 2
    centred = before - before.mean()
    # Lin (2013): the coefficient of the treatment in a regression with all interactions, by numpy.
    columns = np.column_stack([np.ones(UNITS), treated, centred, treated * centred])
    assert found["absolute"]["estimate"] == pytest.approx(np.linalg.lstsq(columns, after)[0][1], rel=1e-9)
    assert (found["verdict"], found["warnings"]) == ("better", [])


def test_the_interval_is_narrower_by_what_the_past_explains(platform: Platform, cents: NDArray[np.float64]) -> None:
    plain, adjusted = comparison(platform, "plain"), comparison(platform, "adjusted")
    widths = [each["absolute"]["upper"] - each["absolute"]["lower"] for each in (plain, adjusted)]
    within = [np.asarray(np.corrcoef(cents[arm::2].T))[0, 1] ** 2 for arm in (0, 1)]
    # Both arms have equal shares and nearly equal variances, so that what remains is their mean.
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(1 - np.mean(within)), rel=0.01)
    assert adjusted["variance_reduction"] == pytest.approx(CORRELATION**2, abs=0.05)
    assert plain["variance_reduction"] is None


def test_means_stay_those_of_the_data_and_the_readout_says_what_was_gained(
    platform: Platform, cents: NDArray[np.float64]
) -> None:
    scorecard = platform.results("default", "adjusted")
    sums = [Decimal(arm.sum) * 100 for arm in scorecard.metrics[0].variants]
    assert sums == [int(cents[arm::2, 1].sum()) for arm in (0, 1)]
    assert "of the variance removed" in as_text(scorecard)
    assert [each.covariate for each in scorecard.health.covariates] == ["spend"]
    assert platform.results("default", "adjusted") == scorecard, "the same data give the same look again"
