"""The sentences of a readout, written once for text and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from abplatform.domain.late_outcomes import say_share
from abplatform.domain.scorecard import ComparisonResult, MetricResult, Scorecard
from abplatform.domain.soundness import CovariateBalance, Health
from abplatform.readout.numbers import count, p_value, visible

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "non_inferior": "non-inferior",
    "inconclusive": "inconclusive",
    "not_computable": "not computable",
}
METHODS = {
    "fixed": "fixed horizon",
    "group_sequential": "group sequential",
    "sequential": "sequential",
    "bayesian": "Bayesian",
}
INTERVALS = {
    "fixed": "confidence interval",
    "confidence_sequence": "confidence sequence",
    "repeated": "repeated confidence interval",
    "credible": "credible interval",
}
ROLE_TITLES = {
    "primary": "Primary metrics",
    "guardrail": "Guardrails",
    "secondary": "Secondary metrics",
}
WARNINGS = {
    "COARSE_QUANTILE": "the values lie far apart here (rounded, or few): the interval ends at one of them, and is "
    "approximate",
    "COVARIATE_DROPPED": "a covariate is constant or redundant, or an arm has too few units for it: not adjusted for",
    "FEW_CLUSTERS": "fewer than 40 clusters in an arm: intervals tend to be too short",
    "FEW_EVENTS": "fewer than 5 conversions (or non-conversions) in an arm: the approximation is poor",
    "HEAVY_TAIL": "so skewed that a mean of this many units is not nearly normal: set a cap",
    "LOOKED_AGAIN_AFTER_PLAN": "the plan was decided at an earlier look with its planned units; this changes nothing",
    "MINIMUM_UNITS_NOT_REACHED": "no verdict before the plan's minimum of units",
    "NOT_ALWAYS_VALID": "the metric has no window, so that this is not valid at every look",
    "PLANNED_UNITS_NOT_REACHED": "a fixed-horizon plan gives no verdict before its planned units",
    "RELATIVE_DISJOINT": "the control's mean is so uncertain that the relative lift has no bounds: look at the "
    "absolute difference",
    "RELATIVE_UNBOUNDED": "the control's mean is too uncertain to bound the relative lift: look at the absolute "
    "difference",
    "RELATIVE_ZERO_CONTROL": "the control's mean is 0, so there is no relative lift",
    "STANDS_FROM_EARLIER_LOOK": "from an earlier look: the plan is spent, or less than 2% of it has come since",
    "STRATUM_DROPPED": "strata without two units in each arm were left out: the effect is that of the others",
    "TOO_FEW_CLUSTERS": "no verdict before every arm has 200 clusters (500 where arms are uneven)",
    "TOO_FEW_NONZERO_CLUSTERS": "no verdict before every arm has 50 clusters (100 where arms are uneven) with a value "
    "(for rates: with a unit of the rarer outcome)",
    "TOO_FEW_NONZERO": "no verdict before every arm has 100 units with a value (for rates: of the rarer outcome)",
    "TOO_FEW_UNITS": "no verdict before every arm has 500 units",
    "WORSE_WITHIN_MARGIN": "significantly worse than the control, but within the margin",
}
INTERVAL_WARNINGS = {
    "TOO_FEW_CLUSTERS": "an arm has fewer than 200 clusters (500 where arms are uneven): intervals may be too short",
    "TOO_FEW_NONZERO_CLUSTERS": "an arm has fewer than 50 clusters (100 where arms are uneven) with a value (for "
    "rates: with a unit of the rarer outcome): intervals may be too short",
    "TOO_FEW_NONZERO": "an arm has fewer than 100 units with a value (for rates: of the rarer outcome): intervals may "
    "be too short",
    "TOO_FEW_UNITS": "an arm has fewer than 500 units: intervals may be too short",
}
"""What withholds a verdict means for intervals, where no verdict is shown."""
VERDICT_WARNINGS = frozenset({"MINIMUM_UNITS_NOT_REACHED", "PLANNED_UNITS_NOT_REACHED"})
"""Warnings about verdicts alone, which say nothing where none is shown."""
NOT_COMPUTABLE = {
    "TOO_FEW_GROUPS": "fewer than two groups are large enough to be compared",
    "MIXED_SIGNS": "the means are neither all above 0 nor all below it, so that their ratios say nothing",
    "NOT_REACHED": "too few units, or too short a grid, to bound the quantile",
    "NO_UNITS": "an arm has no units",
    "ONE_UNIT": "an arm has only one unit",
    "OVERFLOW": "the values are too large to compute with",
    "ZERO_CONTROL": "the control's mean is 0",
    "ZERO_DENOMINATOR": "the denominator is 0",
    "ZERO_VARIANCE": "within each arm all units have the same value",
}


def explain(code: str) -> str:
    """A warning, or the reason why there are no numbers, as a sentence; an unknown code as it is."""
    return WARNINGS.get(code) or NOT_COMPUTABLE.get(code) or visible(code)


def headline(scorecard: Scorecard) -> str:
    """The recommendation in a few words; beside another method's numbers it says that it is the plan's."""
    decision = scorecard.decision
    if scorecard.phase_ended_at is not None and decision.recommendation != "invalid":
        return "A past phase: it recommends nothing"
    who = visible(decision.variant) if decision.variant is not None else "the treatment"
    awaited = visible(", ".join(decision.awaits))
    words = {
        "ship": f"Ship {who}",
        "roll_back": f"Roll back to {who}" if decision.variant is not None else "Roll back",
        "continue": f"Wait for {awaited}: by all else {who} would ship" if awaited else "Continue: no decision yet",
        "inconclusive": "Inconclusive: no decision at the planned size",
        "invalid": "Invalid: do not decide on these data",
    }[decision.recommendation]
    # Unsound data are so by any method.
    return (
        words if _is_look(scorecard) or decision.recommendation == "invalid" else f"By the plan's own method: {words}"
    )


def reasons(scorecard: Scorecard) -> tuple[str, ...]:
    """Why the plan recommends it, without what the health notes say anyway, and whose numbers follow."""
    said = scorecard.health.warnings
    sentences = [visible(reason) for reason in scorecard.decision.reasons if reason not in said]
    if not _is_look(scorecard):
        method = METHODS.get(scorecard.method, scorecard.method)
        sentences.append(f"Exploratory: the numbers below are by another method ({method}); they never decide.")
        if any(_lacks_threshold(each) for metric in scorecard.metrics for each in metric.comparisons):
            sentences.append(
                "Bayesian verdicts need the plan's loss threshold; it has none, so that nothing is called better."
            )
    return tuple(sentences)


def staleness(scorecard: Scorecard) -> str | None:
    """That these are not the results of now, since when and why; None where they are."""
    return None if scorecard.stale is None else visible(scorecard.stale.warning)


def decision_taken(scorecard: Scorecard) -> str | None:
    """What people decided, when and why; None before they did. It stands beside the recommendation, never for it."""
    taken = scorecard.decision_taken
    if taken is None:
        return None
    outcome = taken.outcome.replace("_", " ") + (f" {visible(taken.variant)}" if taken.variant is not None else "")
    reason = visible(" ".join(taken.reason.split()))  # it may have several lines
    # Nothing is decided before the last phase.
    when = f"{taken.decided_at:%Y-%m-%d %H:%M} UTC" + (", in a later phase" if scorecard.phase_ended_at else "")
    return f"Decided by people on {when}: {outcome}. Reason: {reason}"


def _is_look(scorecard: Scorecard) -> bool:
    return scorecard.look > 0


def _lacks_threshold(comparison: ComparisonResult) -> bool:
    """Only a Bayesian plan has a loss threshold. A guardrail's verdict does not rest on it."""
    bayesian = comparison.exploratory and comparison.interval_kind == "credible"
    return bayesian and comparison.margin is None and comparison.verdict == "inconclusive"


@dataclass(frozen=True, slots=True)
class Progress:
    """Units of all arms: those whose window has closed count towards the plan.

    Attributes:
        clusters: of these units, 0 where none were randomised; None where no primary metric is shown.
        closes_by: when the last window of those that are in will have closed; None where none will, or not known.
    """

    closed: int
    open: int
    clusters: int | None = None
    closes_by: datetime | None = None


def planned_progress(scorecard: Scorecard) -> Progress:
    """Units that count towards the plan, of the primary metric that has the fewest.

    Where no primary is shown, analysed units stand in.
    """
    primaries = [metric for metric in scorecard.metrics if metric.role == "primary"]
    if not primaries:
        return Progress(sum(scorecard.health.units.values()), 0)
    fewest = min(primaries, key=lambda metric: sum(each.units for each in metric.variants))
    return Progress(
        sum(each.units for each in fewest.variants),
        sum(each.open_units for each in fewest.variants),
        sum(each.clusters or 0 for each in fewest.variants),
        None if fewest.maturity is None else fewest.maturity.closes_by,
    )


def facts(scorecard: Scorecard) -> tuple[tuple[str, str], ...]:
    """What was looked at, when and how: pairs of a name and a text."""
    progress = planned_progress(scorecard)
    look = f"{scorecard.look}" if _is_look(scorecard) else "not recorded (exploratory)"
    through = scorecard.data_through
    return (
        ("Status", f"{scorecard.status}, phase {scorecard.phase}"),
        ("Method", f"{METHODS.get(scorecard.method, scorecard.method)}, alpha {scorecard.alpha:g}"),
        ("Units", _of_planned(progress.closed, scorecard.planned_units) + _still_open(progress)),
        *_planned_clusters(scorecard, progress),
        ("Look", look),
        ("Computed", f"{scorecard.computed_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Data through", f"{through:%Y-%m-%d %H:%M:%S} UTC" if through else "no data yet"),
        ("Plan", "frozen before the first exposure" if scorecard.preregistered else "not preregistered"),
    )


def _still_open(progress: Progress) -> str:
    if not progress.open:
        return ""
    last = "" if progress.closes_by is None else f", the last until {progress.closes_by:%Y-%m-%d}"
    return f" (+{count(progress.open)} open{last})"


def _planned_clusters(scorecard: Scorecard, progress: Progress) -> tuple[tuple[str, str], ...]:
    planned = scorecard.planned_clusters
    return () if planned is None else (("Clusters", _of_planned(progress.clusters, planned)),)


def _of_planned(found: int | None, planned: int) -> str:
    return f"{count(planned)} planned" if found is None else f"{count(found)} of {count(planned)} planned"


def health_summary(health: Health) -> str:
    """Units by variant and what the checks found, in one line."""
    split = ", ".join(f"{visible(variant)}: {count(units)}" for variant, units in health.units.items())
    return "; ".join(
        (
            f"{split} units analysed" if any(health.units.values()) else "no units yet",
            *_ratio_summary(health),
            f"{count(health.multi_variant_units)} in two variants",
            *_earlier_summary(health),
            f"{count(health.mismatched_exposures)} mismatched exposures",
        )
    )


def _earlier_summary(health: Health) -> tuple[str, ...]:
    units = health.earlier_phase_units
    if units is None:
        return ()  # there is no earlier phase
    return (f"{count(units)} {'unit' if units == 1 else 'units'} left out because of an earlier phase",)


def _ratio_summary(health: Health) -> tuple[str, ...]:
    ratio = health.sample_ratio
    if ratio.ok and not any(health.units.values()):
        return ()  # nothing has been divided yet
    # The tests that decide, not the one-look test: of all units that were met, and of those that are analysed.
    tests = (ratio, ratio.analysed)
    known = [each.sequential_p_value for each in tests if each is not None and each.sequential_p_value is not None]
    return (f"sample ratio {'as planned' if ratio.ok else 'NOT as planned'} (p {p_value(min(known, default=None))})",)


def health_notes(scorecard: Scorecard) -> tuple[str, ...]:
    """Warnings, but for that of `staleness`, and each covariate's balance."""
    health, said = scorecard.health, staleness(scorecard)
    notes = [shown for warning in health.warnings if (shown := visible(warning)) != said]
    notes += [
        f"balance of {_describe(each)} before the experiment: p {p_value(each.p_value)}" for each in health.covariates
    ]
    return tuple(notes)


def _describe(balance: CovariateBalance) -> str:
    name = visible(balance.covariate)
    return f"the metric {name}" if balance.source == "metric" else name


def late_outcome(metric: MetricResult) -> str | None:
    """Of a metric that is an early sign: how far its outcome is known, and when it will be; None of others."""
    outcome = metric.outcome
    if outcome is None:
        return None
    known = f"{visible(outcome.metric)} is known for {say_share(outcome.known_share)}"
    sentence = f"{known}; {visible(metric.metric)} is its early sign."
    if outcome.closes_by is not None:
        sentence += f" It will be known for all that are in now by {outcome.closes_by:%Y-%m-%d}."
    elif outcome.known_share is not None and outcome.known_share < 1:
        sentence += " No more of it will be known: the experiment was stopped before the windows closed."
    return sentence


def interval_name(comparison: ComparisonResult, alpha: float) -> str:
    """For example ``95% confidence interval``."""
    return f"{100 * (1 - alpha):g}% {INTERVALS.get(comparison.interval_kind, 'interval')}"
