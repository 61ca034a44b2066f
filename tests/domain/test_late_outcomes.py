"""Early signs and late outcomes: beside each other in results, waited for in decisions, required in definitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.decision import decide
from abplatform.domain.definition_check import Catalogue, check_definition
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse
from abplatform.domain.interference import warn_of_spillover
from abplatform.domain.late_outcomes import add_maturity, release
from abplatform.domain.maturity import last_close
from abplatform.domain.metric import Metric, Window
from abplatform.domain.scorecard import Decision, MetricResult, Scorecard
from abplatform.domain.scoring import score_metrics
from abplatform.errors import InvalidInput
from abplatform.readout.wording import headline, late_outcome
from tests.builders import NOW, a_metric, a_metric_use, a_plan, a_scorecard, an_experiment, later
from tests.domain.aggregations import a_rate, a_request, an_aggregation

PURCHASE = a_metric()
EARLY = a_metric("early-overdue", direction="decrease", window=Window(end=timedelta(days=90)), outcome="bad-debt")
LATE = a_metric("bad-debt", direction="decrease", window=Window(end=timedelta(days=180)))
GUARD = MetricUse(metric="early-overdue", role="guardrail", non_inferiority_margin=Amount(absolute=0.05))
LENDING = an_experiment(
    metrics=(a_metric_use(), GUARD, MetricUse(metric="bad-debt", role="secondary")), plan=a_plan(planned_units=20_000)
)
ALSO_GUARDED = replace(
    LENDING,
    metrics=(*LENDING.metrics[:2], replace(GUARD, metric="bad-debt", non_inferiority_margin=Amount(absolute=0.03))),
)
SOUND = replace(a_scorecard().health, ok=True, warnings=())
WAITS = "treatment: bad-debt, the late outcome of early-overdue, is not known yet for any unit of an arm."


def lending(known: int, bad: tuple[int, int] = (20, 20)) -> Aggregation:
    """10,000 units in each arm, of which the outcome is known for some; bad ones of the control and the treatment."""

    def arm(variant: str, bought: int, gone_bad: int) -> list[ArmCell]:
        return [
            a_rate(variant, 10_000, bought),
            a_rate(variant, 10_000, 100, name="early-overdue"),
            a_rate(variant, known, gone_bad if known else 0, name="bad-debt", open_units=10_000 - known),
        ]

    return an_aggregation(*arm("control", 1_000, bad[0]), *arm("treatment", 1_300, bad[1]))


def judge(
    aggregation: Aggregation, definition: ExperimentDefinition = LENDING, **asked: Any
) -> tuple[MetricResult, ...]:
    metrics = (PURCHASE, EARLY, LATE)
    results = score_metrics(definition, metrics, aggregation, method=definition.plan.method)
    return add_maturity(results, metrics, a_request(metrics=metrics, **asked), data_through=None)


def advise(aggregation: Aggregation, definition: ExperimentDefinition = LENDING, **asked: Any) -> Decision:
    return decide(definition, SOUND, judge(aggregation, definition, **asked), finished=True)


def test_a_variant_tells_which_share_of_its_units_is_open_and_a_metric_which_is_known() -> None:
    _, early, late = judge(lending(3_700))
    assert [variant.open_share for variant in late.variants] == [0.63, 0.63]
    assert (early.maturity is not None and early.maturity.known_share) == 1.0
    assert late.maturity is not None
    assert late.maturity.known_share == 0.37
    assert late.maturity.closes_by == NOW + timedelta(days=180)


def test_without_units_no_share_is_told() -> None:
    (result, *_) = score_metrics(
        an_experiment(), (PURCHASE,), an_aggregation(a_rate("control", 0, 0), a_rate("treatment", 0, 0)), method="fixed"
    )
    assert [variant.open_share for variant in result.variants] == [None, None]


def test_an_early_sign_has_its_outcome_beside_it() -> None:
    _, early, late = judge(lending(3_700))
    assert early.outcome is not None
    assert (early.outcome.metric, early.outcome.known_share) == ("bad-debt", 0.37)
    assert early.outcome.known_units == {"control": 3_700, "treatment": 3_700}
    assert early.outcome.verdicts == {"treatment": late.comparisons[0].verdict}
    assert late.outcome is None
    assert late_outcome(early) == (
        "bad-debt is known for 37% of units; early-overdue is its early sign. It will be known for all that are in now "
        "by 2027-05-22."
    )


@pytest.mark.parametrize(
    ("asked", "data_through", "expected"),
    [
        ({}, None, NOW + timedelta(days=90)),
        ({"enrolled_until": later(days=-30)}, None, NOW + timedelta(days=60)),
        ({}, later(days=-1), NOW + timedelta(days=89)),
        ({"until": later(days=-1)}, None, None),
    ],
    ids=["running", "closed", "nothing new", "stopped"],
)
def test_all_windows_have_closed_that_long_after_the_last_unit_can_have_come(
    asked: dict[str, Any], data_through: datetime | None, expected: datetime | None
) -> None:
    assert last_close(EARLY, a_request(**asked), data_through) == expected


def test_days_of_a_calendar_may_be_longer_than_a_day() -> None:
    metric = replace(EARLY, window=Window(end=timedelta(days=90), calendar=True))
    assert last_close(metric, a_request(), None) == NOW + timedelta(days=91)


def test_nothing_ships_while_the_late_outcome_of_a_guardrail_is_entirely_unknown() -> None:
    found = advise(lending(0))
    assert (found.recommendation, found.variant, found.awaits) == ("continue", "treatment", ("bad-debt",))
    assert WAITS in found.reasons
    card: Scorecard = a_scorecard(decision=found)
    assert headline(card) == "Wait for bad-debt: by all else treatment would ship"


def test_it_ships_once_something_is_known_and_says_how_much() -> None:
    found = advise(lending(3_700))
    assert (found.recommendation, found.variant, found.awaits) == ("ship", "treatment", ())
    assert (
        "treatment: bad-debt, the late outcome of early-overdue, is known for 37% of units, and not shown to be worse."
        in found.reasons
    )


def test_an_outcome_that_will_never_be_known_ends_without_a_decision() -> None:
    found = advise(lending(0), until=later(days=-1))
    assert (found.recommendation, found.variant, found.awaits) == ("inconclusive", None, ())
    assert any("never will be" in reason for reason in found.reasons)


def test_a_late_outcome_that_is_worse_forbids_to_ship_though_it_is_a_secondary_metric() -> None:
    found = advise(lending(10_000, bad=(100, 300)))
    assert found.recommendation == "inconclusive"
    assert any("bad-debt" in reason and reason.endswith("and worse.") for reason in found.reasons)


def test_an_outcome_that_is_a_guardrail_itself_is_waited_for_too_and_then_has_to_be_shown_safe() -> None:
    assert advise(lending(0), ALSO_GUARDED).awaits == ("bad-debt",)
    assert advise(lending(9_000), ALSO_GUARDED).recommendation == "ship"
    unsure = advise(lending(50, bad=(1, 1)), ALSO_GUARDED)
    assert (unsure.recommendation, unsure.awaits) == ("continue", ("bad-debt",))
    assert any("less than 1% of units, and not shown to stay within its margin" in each for each in unsure.reasons)
    for_ever = advise(lending(50, bad=(1, 1)), ALSO_GUARDED, until=NOW)
    assert for_ever.recommendation == "inconclusive"
    assert any("bad-debt not shown to stay within the margin" in reason for reason in for_ever.reasons)


def test_an_early_sign_that_is_no_guardrail_holds_nothing_up() -> None:
    first = replace(PURCHASE, outcome="bad-debt")
    definition = an_experiment(
        metrics=(a_metric_use(), MetricUse(metric="bad-debt")), plan=a_plan(planned_units=20_000)
    )
    results = score_metrics(definition, (first, LATE), lending(0), method="sequential")
    matured = add_maturity(results, (first, LATE), a_request(), data_through=None)
    assert matured[0].outcome is not None
    assert decide(definition, SOUND, matured, finished=True).recommendation == "ship"


@pytest.mark.parametrize(
    ("data", "definition", "asked", "expected"),
    [
        (lending(0), LENDING, {}, "continue"),
        (lending(30), LENDING, {}, "ship"),
        (lending(0), LENDING, {"until": NOW}, "inconclusive"),
        (lending(10_000, bad=(100, 300)), LENDING, {}, "inconclusive"),
        (lending(50, bad=(1, 1)), ALSO_GUARDED, {}, "continue"),
        (lending(50, bad=(1, 1)), ALSO_GUARDED, {"until": NOW}, "inconclusive"),
        (lending(9_000), ALSO_GUARDED, {}, "ship"),
    ],
    ids=["unknown", "known", "never known", "worse", "guarded, unsure", "guarded, for ever", "guarded, safe"],
)
def test_a_decision_that_waits_is_released_by_the_outcome_alone(
    data: Aggregation, definition: ExperimentDefinition, asked: dict[str, Any], expected: str
) -> None:
    waiting = advise(lending(0), definition)
    found = release(waiting, judge(data, definition, **asked), "control")
    assert found.recommendation == expected
    assert (WAITS in found.reasons) is (data == lending(0) and expected == "continue")
    assert (found.awaits == ("bad-debt",)) is (expected == "continue")
    assert "treatment: better on purchase." in found.reasons


def test_other_decisions_are_left_as_they_are() -> None:
    decision = a_scorecard().decision
    assert release(decision, judge(lending(0)), "control") is decision


def test_an_experiment_with_an_early_sign_must_have_its_outcome_too() -> None:
    catalogue = Catalogue(unit_type="user_id", metrics={metric.key: metric for metric in (PURCHASE, EARLY, LATE)})
    check_definition(LENDING, catalogue)
    with pytest.raises(InvalidInput) as caught:
        check_definition(replace(LENDING, metrics=LENDING.metrics[:2]), catalogue)
    assert caught.value.errors == {
        "metrics.1.metric": ["is an early sign of 'bad-debt', which must be among the metrics too, in whatever role"]
    }


INVITED = a_metric("invited-registrations", kind="count", spills_over=True)


def test_a_metric_that_spills_over_is_warned_of_where_single_units_are_randomised() -> None:
    (warning,) = warn_of_spillover(an_experiment(), (PURCHASE, INVITED), single_units=True)
    assert warning.startswith("invited-registrations: what one unit does changes the number of others")
    assert "purchase" not in warning
    assert 'unit_type "referral_circle" with analysis_unit "user_id"' in warning


@pytest.mark.parametrize(
    ("changes", "metrics", "single_units"),
    [
        ({"unit_type": "referral_circle", "analysis_unit": "user_id"}, (INVITED,), True),
        ({"unit_type": "referral_circle"}, (INVITED,), False),
        ({}, (PURCHASE,), True),
    ],
    ids=["circles, counted by their members", "circles, counted whole", "nothing spills over"],
)
def test_circles_that_are_randomised_whole_are_not_warned_of(
    changes: dict[str, Any], metrics: tuple[Metric, ...], single_units: bool
) -> None:
    assert warn_of_spillover(an_experiment(**changes), metrics, single_units=single_units) == ()
