"""Sentences of a readout: what a reader must not misunderstand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from abplatform.domain.experiment import Outcome
from abplatform.domain.maturity import Maturity
from abplatform.domain.scorecard import Interval, Margin, Scorecard
from abplatform.domain.soundness import SampleRatio
from abplatform.readout import wording
from abplatform.readout.rows import build_tables, tone_of, write_bounds, write_margin
from abplatform.readout.text import as_text
from tests.builders import a_decision
from tests.readouts.scorecards import (
    HOSTILE,
    decided_scorecard,
    empty_scorecard,
    exploratory_scorecard,
    fixed_scorecard,
    hostile_scorecard,
    sequential_scorecard,
)


def _invalid() -> Scorecard:
    """The mails, all better, but with a broken split."""
    fixed = fixed_scorecard()
    return replace(fixed, health=replace(fixed.health, ok=False))


def test_units_of_the_plan_are_the_closed_ones_of_the_primary_that_has_the_fewest() -> None:
    scorecard = sequential_scorecard()
    guardrail, primary = scorecard.metrics
    slower = replace(
        primary,
        metric="repayment",
        variants=tuple(replace(each, units=5000, open_units=1120) for each in primary.variants),
    )
    facts = dict(wording.facts(replace(scorecard, metrics=(guardrail, primary, slower))))
    assert facts["Units"] == "10,000 of 20,000 planned (+2,240 open)"
    last = Maturity(known_share=10_000 / 12_240, closes_by=datetime(2026, 12, 23, 12, tzinfo=UTC))
    facts = dict(wording.facts(replace(scorecard, metrics=(guardrail, primary, replace(slower, maturity=last)))))
    assert facts["Units"] == "10,000 of 20,000 planned (+2,240 open, the last until 2026-12-23)"
    assert dict(wording.facts(replace(scorecard, metrics=(guardrail,))))["Units"] == "12,000 of 20,000 planned"


def test_planned_clusters_stand_beside_the_clusters_of_the_units_that_count() -> None:
    scorecard = replace(sequential_scorecard(), planned_clusters=5_000)
    guardrail, primary = scorecard.metrics
    primary = replace(primary, variants=tuple(replace(each, clusters=1_204) for each in primary.variants))
    assert dict(wording.facts(replace(scorecard, metrics=(guardrail, primary))))["Clusters"] == "2,408 of 5,000 planned"
    assert dict(wording.facts(replace(scorecard, metrics=(guardrail,))))["Clusters"] == "5,000 planned"
    assert "Clusters" not in dict(wording.facts(sequential_scorecard()))


def test_headline_beside_another_methods_numbers_is_the_plans() -> None:
    assert wording.headline(exploratory_scorecard()) == "By the plan's own method: Ship Mens E-Mail"
    assert wording.headline(fixed_scorecard()) == "Ship Mens E-Mail"
    assert wording.headline(hostile_scorecard()) == "Invalid: do not decide on these data"


def test_only_exploratory_bayesian_numbers_speak_of_the_missing_loss_threshold() -> None:
    exploratory = exploratory_scorecard()
    assert "loss threshold" in wording.reasons(exploratory)[-1]
    guardrails = tuple(metric for metric in exploratory.metrics if metric.role == "guardrail")
    assert "loss threshold" not in " ".join(wording.reasons(replace(exploratory, metrics=guardrails)))
    assert wording.reasons(replace(fixed_scorecard(), look=0))[-1].startswith("Exploratory: ")
    assert wording.reasons(fixed_scorecard()) == fixed_scorecard().decision.reasons


def test_what_makes_the_data_unsound_is_said_once() -> None:
    text = as_text(hostile_scorecard())
    assert text.count("the split is not as planned") == 1
    assert "The data are not sound." in text


def test_verdicts_on_unsound_data_are_grey() -> None:
    def tones(scorecard: Scorecard) -> set[str]:
        return {row.tone for table in build_tables(scorecard) for row in table.rows if not row.control}

    assert tones(_invalid()) == {"flat"}
    assert tones(fixed_scorecard()) == {"good"}


@pytest.mark.parametrize(
    ("kind", "direction", "margin", "text"),
    [
        ("conversion", "decrease", Margin(relative=None, absolute=0.01), "+1.00 pp"),
        ("conversion", "increase", Margin(relative=None, absolute=0.01), "−1.00 pp"),
        ("conversion", "increase", Margin(relative=0.01, absolute=0.002), "−1.00%"),
        ("sum", "decrease", Margin(relative=None, absolute=0.5), "+0.5000"),
    ],
)
def test_margin_is_as_defined_and_points_towards_harm(kind: str, direction: str, margin: Margin, text: str) -> None:
    metric = replace(sequential_scorecard().metrics[0], kind=kind, direction=direction)
    assert write_margin(metric, margin) == text


def test_a_guardrail_that_is_worse_within_its_margin_does_not_look_like_a_good_one() -> None:
    effect = sequential_scorecard().metrics[0].comparisons[0]
    kept = replace(effect, verdict="non_inferior", warnings=())
    assert tone_of(kept) == "good"
    worse = replace(kept, warnings=("WORSE_WITHIN_MARGIN",))
    assert tone_of(worse) == "warn"
    assert tone_of(worse, sound=False) == "flat"


def test_a_lift_without_bounds_says_so_and_where_to_look() -> None:
    effect = sequential_scorecard().metrics[0].comparisons[0]
    wild = replace(effect, relative=Interval(estimate=0.312, lower=None, upper=None), warnings=("RELATIVE_DISJOINT",))
    assert write_bounds(wild.relative, wild, kind="lift") == "no bounds"
    assert wording.explain("RELATIVE_DISJOINT").endswith("look at the absolute difference")


def test_evidence_of_a_guardrail_is_not_named_a_probability_of_harm() -> None:
    tables = {table.role: table for table in build_tables(sequential_scorecard())}
    assert tables["guardrail"].evidence == "p (within margin)"
    assert [row.margin for row in tables["guardrail"].rows] == ["+0.100 pp", "+0.100 pp"]
    assert [row.margin for row in tables["primary"].rows] == ["", ""]


def test_health_names_each_variant_before_its_units() -> None:
    health = replace(fixed_scorecard().health, units={"0": 727, "1": 683})
    assert wording.health_summary(health).startswith("0: 727, 1: 683 units analysed; sample ratio as planned")


def test_the_p_value_of_the_sample_ratio_is_that_of_the_test_that_decides() -> None:
    """Not that of one look, which may be small by chance at one of many: an alarm and its number never disagree."""
    health = fixed_scorecard().health
    calm = SampleRatio(p_value=0.0004, sequential_p_value=0.4, ok=True)
    alarm = SampleRatio(p_value=0.3, sequential_p_value=0.0002, ok=False)
    for analysed, ok, text in ((calm, True, "as planned (p 0.4000)"), (alarm, False, "NOT as planned (p 0.0002)")):
        ratio = replace(calm, ok=ok, analysed=analysed)
        assert f"sample ratio {text};" in wording.health_summary(replace(health, sample_ratio=ratio))


@pytest.mark.parametrize("units", [{}, {"control": 0, "treatment": 0}])
def test_without_units_nothing_is_said_about_their_ratio(units: dict[str, int]) -> None:
    health = replace(empty_scorecard().health, units=units)
    assert wording.health_summary(health) == "no units yet; 0 in two variants; 0 mismatched exposures"
    broken = replace(health, sample_ratio=replace(health.sample_ratio, ok=False))
    assert "NOT as planned" in wording.health_summary(broken)


@pytest.mark.parametrize(("units", "text"), [(0, "0 units"), (1, "1 unit"), (1_204, "1,204 units")])
def test_units_of_an_earlier_phase_are_told_wherever_there_was_one(units: int, text: str) -> None:
    health = replace(decided_scorecard().health, earlier_phase_units=units)
    assert f"; {text} left out because of an earlier phase; " in wording.health_summary(health)
    assert "earlier phase" not in wording.health_summary(replace(health, earlier_phase_units=None))


def test_what_people_decided_is_told_beside_the_recommendation() -> None:
    decided = decided_scorecard()
    undecided = replace(decided, decision_taken=None)
    assert wording.decision_taken(decided) == (
        "Decided by people on 2026-11-24 12:05 UTC: ship treatment. "
        "Reason: The new law asks for it: from 1 December on."
    )
    assert wording.decision_taken(undecided) is None
    assert wording.headline(decided) == wording.headline(undecided)
    assert wording.reasons(decided) == wording.reasons(undecided)
    past = wording.decision_taken(replace(decided, phase_ended_at=decided.computed_at))
    assert "on 2026-11-24 12:05 UTC, in a later phase: ship treatment." in (past or "")


@pytest.mark.parametrize(("outcome", "text"), [("roll_back", "roll back"), ("inconclusive", "inconclusive")])
def test_a_decision_that_ships_nothing_names_no_variant(outcome: Outcome, text: str) -> None:
    taken = a_decision(outcome, reason=f"{HOSTILE}\x1b[31m")
    told = wording.decision_taken(replace(decided_scorecard(), decision_taken=taken))
    assert (told or "").endswith(f": {text}. Reason: {HOSTILE}\ufffd[31m")
