"""Looks at an experiment whose plan is decided once, while the late outcome of a guardrail is still to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.evidence import Evidence
from abplatform.domain.experiment import Amount, Experiment, MetricUse
from abplatform.domain.metric import Metric, Window
from abplatform.domain.scorecard import Scorecard
from abplatform.services import analyse, define
from abplatform.services.choose import Question
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_metric, a_metric_use, a_plan, an_experiment, later
from tests.domain.aggregations import a_rate, an_aggregation, an_evidence
from tests.services.lives import lead

EARLY = a_metric("early-overdue", direction="decrease", window=Window(end=timedelta(days=90)), outcome="bad-debt")
LATE = a_metric("bad-debt", direction="decrease", window=Window(end=timedelta(days=180)), spills_over=True)
GUARD = MetricUse(metric="early-overdue", role="guardrail", non_inferiority_margin=Amount(absolute=0.05))
LENDING = an_experiment(
    metrics=(a_metric_use(), GUARD, MetricUse(metric="bad-debt")), plan=a_plan(method="fixed", planned_units=20_000)
)


def begin(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        for metric in (LATE, EARLY):
            define.create_metric(work, "default", metric, now=NOW)
    lead(uow, LENDING, "start")


def lending(bought: int, known: int) -> Aggregation:
    def arm(variant: str, bought: int) -> list[ArmCell]:
        return [
            a_rate(variant, 10_000, bought),
            a_rate(variant, 10_000, 100, name="early-overdue"),
            a_rate(variant, known, known // 100, name="bad-debt", open_units=10_000 - known),
        ]

    return an_aggregation(*arm("control", 1_000), *arm("treatment", bought))


def look(uow: UnitOfWork, data: Aggregation, *, method: str | None = None) -> Scorecard:
    def aggregate(_experiment: Experiment, metrics: Sequence[Metric], _known: Evidence | None) -> Evidence:
        return an_evidence(data, as_of=later(days=100), metrics=tuple(metrics))

    asked = Question(method=method)
    return analyse.read_results(uow, aggregate, "default", "rate-display", question=asked, now=later(days=100))


def test_a_plan_that_was_decided_waits_for_the_outcome_and_then_ships_by_what_it_had_found(uow: UnitOfWork) -> None:
    begin(uow)
    first = look(uow, lending(1_300, known=0))
    assert (first.decision.recommendation, first.decision.awaits) == ("continue", ("bad-debt",))
    # The primary is no longer better by then: it was decided before, and is not decided again.
    still = look(uow, lending(1_010, known=0))
    assert (still.decision.recommendation, still.decision.variant) == ("continue", "treatment")
    known = look(uow, lending(1_020, known=500))
    assert (known.look, known.decision.recommendation, known.decision.variant) == (3, "ship", "treatment")
    assert any("known for 5% of units" in reason for reason in known.decision.reasons)
    assert any("Decided at look 1" in reason for reason in known.decision.reasons)
    assert look(uow, lending(1_030, known=900)).decision == known.decision


def test_a_recorded_look_has_maturity_and_pairs_and_so_has_another_method(uow: UnitOfWork) -> None:
    begin(uow)
    recorded = look(uow, lending(1_300, known=3_700))
    assert look(uow, lending(1_300, known=3_700)) == recorded
    for found in (recorded, look(uow, lending(1_300, known=3_700), method="sequential")):
        outcome = found.metrics[1].outcome
        assert outcome is not None
        assert (outcome.known_share, outcome.closes_by) == (0.37, later(days=280))
        assert found.metrics[2].variants[0].open_share == 0.63


def test_spillover_is_a_warning_about_the_health_of_every_look(uow: UnitOfWork) -> None:
    begin(uow)
    for method in (None, "sequential"):
        health = look(uow, lending(1_300, known=0), method=method).health
        assert health.ok
        assert any(warning.startswith("bad-debt: what one unit does") for warning in health.warnings)


def test_circles_that_are_counted_whole_are_not_warned_of(uow: UnitOfWork) -> None:
    begin(uow)
    data = lending(1_300, known=0)

    def aggregate(_experiment: Experiment, metrics: Sequence[Metric], _known: Evidence | None) -> Evidence:
        evidence = an_evidence(data, as_of=later(days=100), metrics=tuple(metrics))
        return replace(evidence, request=replace(evidence.request, unit_type="referral_circle"))

    found = analyse.read_results(uow, aggregate, "default", "rate-display", question=Question(), now=later(days=100))
    assert not any("what one unit does" in warning for warning in found.health.warnings)
