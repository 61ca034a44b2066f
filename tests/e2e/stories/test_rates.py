"""Stories of rates: what is planted is found, by the platform and over repetitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from abplatform.cli.stories import STORIES, account_opening, recall
from abplatform.cli.stories.story import Planted
from abplatform.stats import ProportionStats
from abplatform.stats.fixed import compare
from tests.e2e.stories.telling import (
    check_coverage,
    check_recovered,
    count_covered,
    repeat,
    result_of,
    split,
    telling,
)

RATE_DISPLAY, ACCOUNT_OPENING, RECALL = (STORIES[key] for key in ("rate-display", "account-opening", "recall"))


def planted(story_key: str, metric: str) -> Planted:
    return next(each for each in STORIES[story_key].planted if each.metric == metric)


@pytest.mark.parametrize(
    ("key", "metric", "event", "least"),
    [
        ("rate-display", "purchase", "purchase", {}),
        ("rate-display", "complaint", "complaint", {}),
        ("account-opening", "first-transaction", "transaction", {}),
        ("recall", "purchase", "purchase", {}),
        ("first-loan", "loan-taken", "purchase", {}),
        ("first-loan", "overdue-21-days", "loan-overdue", {"days_past_due": 1}),
        ("first-loan", "bad-debt-90-days", "loan-overdue", {"days_past_due": 60}),
    ],
)
def test_intervals_cover_what_is_planted_as_often_as_they_say(
    key: str, metric: str, event: str, least: dict[str, int]
) -> None:
    """Source: the level of the interval, 95%, against the binomial of 200 repetitions."""
    arms: list[list[int]] = []
    for repetition in repeat(STORIES[key], units=4000, classes=list(recall.RATES) if key == "recall" else ()):
        treated, control = split(repetition, np.minimum(repetition.counts(event, **least), 1))
        arms.append([treated.size, int(treated.sum()), control.size, int(control.sum())])
    units, done, control_units, control_done = np.array(arms).T
    comparison = compare(ProportionStats(units, done), ProportionStats(control_units, control_done))
    truth = planted(key, metric)
    check_coverage(count_covered(comparison, truth.effect, scale=truth.scale))


def test_half_of_all_customers_have_an_account_after_the_planted_time() -> None:
    """Source: the sample median lies above m if fewer than half lie below: binomial, five standard errors."""
    rng = np.random.default_rng(5)
    crowd = ACCOUNT_OPENING.gather(rng, 100_000)
    for treated, minutes in zip((False, True), account_opening.MEDIANS, strict=True):
        deeds = ACCOUNT_OPENING.behave(rng, crowd, np.full(100_000, treated))
        (opened,) = [each for each in deeds if each.event == "account-opened"]
        share = (opened.after * 1440 <= minutes).sum() / 100_000
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(100_000)


def test_rate_display_ships_what_raises_purchases(tmp_path: Path) -> None:
    with telling(tmp_path, RATE_DISPLAY, units=20_000) as told:
        check_recovered(told)
    assert result_of(told.last, "purchase").comparisons[0].verdict == "better"
    assert result_of(told.last, "complaint").comparisons[0].verdict == "non_inferior"
    assert (told.last.decision.recommendation, told.last.decision.variant) == ("ship", "treatment")
    assert told.last.preregistered
    assert told.last.health.mismatched_exposures == 0, "the server draws what the evaluator drew"
    assert [look.day for look in told.looks] == [32, 38, 45]


def test_account_opening_ships_what_saves_twelve_minutes(tmp_path: Path) -> None:
    with telling(tmp_path, ACCOUNT_OPENING, units=6000) as told:
        check_recovered(told)
    duration = result_of(told.last, "time-to-account-opening")
    medians = [(arm.value or 0) / 60 for arm in duration.variants]
    assert medians == pytest.approx(account_opening.MEDIANS, rel=0.15)
    assert duration.comparisons[0].verdict == "better"
    assert result_of(told.last, "first-transaction").comparisons[0].verdict == "better"
    assert told.last.decision.recommendation == "ship"


def test_recall_reaches_the_fallen_silent_alone_and_finds_the_same_lift_in_each_class(tmp_path: Path) -> None:
    with telling(tmp_path, RECALL, units=12_000) as told:
        check_recovered(told)
        breakdown = told.platform.explorer.breakdown("default", "recall", by="rfm", metric="purchase")
    assert 0.7 * 12_000 < sum(told.last.health.units.values()) < 12_000
    (purchase,) = breakdown.metrics
    slices = {each.slice: each.comparisons[0].relative for each in purchase.slices}
    assert set(slices) == {"at_risk", "dormant"}, "nobody else met the experiment"
    for name, relative in slices.items():
        assert relative.lower is not None
        assert relative.upper is not None
        assert relative.lower <= recall.EFFECT <= relative.upper, name
