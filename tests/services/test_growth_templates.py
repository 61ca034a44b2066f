"""ARPU, assets and holding periods as the templates define them, end to end, against plain loops over the facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.scorecard import MetricResult, Scorecard, VariantResult
from abplatform.domain.templates import choose_templates
from abplatform.services.define import create_experiment
from abplatform.services.fix_caps import find_caps
from abplatform.services.install import install_templates
from abplatform.services.live import take_step
from abplatform.services.trace import CurveQuestion
from tests.builders import NOW, a_conversion_fact, a_metric_use, a_plan, an_exposure_fact, an_external_experiment
from tests.services.growing import of_time, put
from tests.warehouse.looking import a_platform

FIRST = NOW - timedelta(days=200)
KEYS = ("purchase", "arpu", "aum", "holding-period")
ARMS = ("control", "treatment")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Happened:
    """What a customer did, so long after the first exposure."""

    unit: str
    event: str
    after: timedelta
    value: int = 0


@pytest.fixture(scope="module", name="history")
def _history() -> list[Happened]:
    """300 customers; all purchase, most redeem some day, those of the treatment later; some before they purchase."""
    chance = np.random.default_rng(8)
    found = []
    for number in range(300):
        unit, late = f"{ARMS[number % 2]} {number}", 1.5 if number % 2 else 1.0

        def add(event: str, days: float, value: int = 0, unit: str = unit) -> None:
            found.append(Happened(unit, event, timedelta(days=days), value))

        bought = float(chance.uniform(0, 5))
        add("purchase", bought)
        if number % 10 == 0:
            add("redemption", bought / 2)
        if number % 7:
            add("redemption", bought + late * float(chance.exponential(60)))
        for _ in range(int(chance.integers(0, 4))):
            add("revenue", float(chance.uniform(-10, 100)), int(chance.integers(1, 90)))
        for day in sorted(chance.choice(60, int(chance.integers(0, 12)), replace=False)):
            add("balance", float(day) - 5 + 0.5, int(chance.integers(0, 5_000)))
    return found


@pytest.fixture(scope="module", name="platform")
def _platform(history: list[Happened], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with a_platform(tmp_path_factory.mktemp("home")) as platform:
        put(platform, [*facts(history), *strangers()])
        uses = (a_metric_use("purchase"), *(a_metric_use(key, role="secondary", mde=None) for key in KEYS[1:]))
        definition = an_external_experiment(metrics=uses, plan=a_plan(method="fixed", planned_units=300))
        with platform.uow.begin() as work:
            install_templates(work, "default", choose_templates(KEYS), now=NOW)
            create_experiment(work, "default", definition, now=NOW)
        caps = find_caps(
            platform.uow, platform.engine, platform.lake, "default", "imported", now=NOW, seal=platform.seal
        )
        with platform.uow.begin() as work:
            take_step(work, "default", "imported", "start", now=NOW, caps=caps)
        yield platform


def facts(history: list[Happened]) -> Iterator[ExposureFact | ConversionFact]:
    for unit in sorted({each.unit for each in history}):
        yield an_exposure_fact(unit, experiment="imported", unit=unit, variant=unit.split()[0], **of_time(FIRST))
    for number, each in enumerate(history):
        yield a_conversion_fact(
            f"c-{number}",
            event=each.event,
            unit=each.unit,
            value=Decimal(each.value),
            **of_time(FIRST + each.after),
        )


def strangers() -> Iterator[ConversionFact]:
    """100 customers before the start, whose 99th brought 99 and holds 2,970: the caps."""
    for number in range(1, 101):
        for event, value in (("revenue", number), ("balance", 30 * number)):
            yield a_conversion_fact(
                f"{event} of stranger {number}",
                event=event,
                unit=f"stranger {number}",
                value=Decimal(value),
                **of_time(NOW - 3 * DAY),
            )


@pytest.fixture(scope="module", name="scorecard")
def _scorecard(platform: Platform) -> Scorecard:
    return platform.results("default", "imported")


def arm(scorecard: Scorecard, metric: str, variant: str) -> VariantResult:
    result: MetricResult = next(each for each in scorecard.metrics if each.metric == metric)
    return next(each for each in result.variants if each.variant == variant)


def customers(history: list[Happened], variant: str) -> dict[str, list[Happened]]:
    """What each customer of a variant did, in order of time."""
    found: dict[str, list[Happened]] = {}
    for each in sorted(history, key=lambda each: each.after):
        if each.unit.startswith(variant):
            found.setdefault(each.unit, []).append(each)
    return found


@pytest.mark.parametrize("variant", ARMS)
def test_arpu_is_what_all_customers_brought_up_to_the_cap(
    scorecard: Scorecard, history: list[Happened], variant: str
) -> None:
    totals = []
    for done in customers(history, variant).values():
        total = 0
        for each in done:
            if each.event == "revenue" and timedelta(0) <= each.after < 30 * DAY:
                total += each.value
        totals.append(total)
    found = arm(scorecard, "arpu", variant)
    assert found.units == 150
    assert found.sum == str(sum(min(total, 99) for total in totals))
    assert max(totals) > 99, "somebody is capped"
    assert found.uncapped_mean == pytest.approx(sum(totals) / 150)


@pytest.mark.parametrize("variant", ARMS)
def test_assets_are_the_last_balance_that_was_seen(
    platform: Platform, scorecard: Scorecard, history: list[Happened], variant: str
) -> None:
    def held(until: timedelta) -> int:
        total = 0
        for done in customers(history, variant).values():
            last = 0
            for each in done:
                if each.event == "balance" and timedelta(0) <= each.after < until:
                    last = each.value
            total += min(last, 2970)
        return total

    assert arm(scorecard, "aum", variant).sum == str(held(30 * DAY))
    curve = platform.explorer.curve("default", "imported", question=CurveQuestion(metric="aum", days=(1, 10, 30, 60)))
    sums = [next(each.sum for each in point.variants if each.variant == variant) for point in curve.points]
    assert sums == [str(held(day * DAY)) for day in (1, 10, 30, 60)]


@pytest.mark.parametrize("variant", ARMS)
def test_a_holding_period_is_the_time_from_a_purchase_to_a_redemption_of_a_quarter_of_customers(
    scorecard: Scorecard, history: list[Happened], variant: str
) -> None:
    periods = []
    for done in customers(history, variant).values():
        bought, period = None, None
        for each in done:
            if each.after >= 90 * DAY or each.after < timedelta(0):
                continue
            if each.event == "purchase" and bought is None:
                bought = each.after
            elif each.event == "redemption" and bought is not None and period is None:
                period = (each.after - bought).total_seconds()
        periods.append(math.inf if period is None else period)
    periods.sort()
    # A quarter of 150 customers are 37.5.
    found = arm(scorecard, "holding-period", variant)
    assert found.units == 150
    assert found.value is not None
    assert periods[36] < found.value <= periods[37]
    assert sum(map(math.isinf, periods)) > 0, "some hold for ever"


def test_who_holds_longer_is_better(scorecard: Scorecard) -> None:
    control, treatment = (arm(scorecard, "holding-period", variant).value or 0.0 for variant in ARMS)
    (result,) = [each for each in scorecard.metrics if each.metric == "holding-period"]
    (comparison,) = result.comparisons
    assert result.direction == "increase"
    assert comparison.absolute.estimate == pytest.approx(treatment - control)
