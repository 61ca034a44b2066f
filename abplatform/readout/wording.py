"""The sentences of a readout, written once for text and HTML."""

from __future__ import annotations

from abplatform.domain.scorecard import ComparisonResult, Health, Scorecard
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
    "FEW_CLUSTERS": "fewer than 40 clusters in an arm: intervals tend to be too short",
    "FEW_EVENTS": "fewer than 5 conversions (or non-conversions) in an arm: the approximation is poor",
    "LOOKED_AGAIN_AFTER_PLAN": "the fixed-horizon plan was decided at an earlier look; later ones do not decide",
    "MINIMUM_UNITS_NOT_REACHED": "no verdict before the plan's minimum of units",
    "NOT_ALWAYS_VALID": "the metric has no window, so that this is not valid at every look",
    "PLANNED_UNITS_NOT_REACHED": "a fixed-horizon plan gives no verdict before its planned units",
    "RELATIVE_DISJOINT": "the relative lifts that fit the data form two rays, which two bounds cannot show",
    "RELATIVE_UNBOUNDED": "the control's mean is too uncertain to bound the relative lift",
    "RELATIVE_ZERO_CONTROL": "the control's mean is 0, so there is no relative lift",
    "TOO_FEW_NONZERO": "no verdict before every arm has 100 units with a value (for rates: of the rarer outcome)",
    "TOO_FEW_UNITS": "no verdict before every arm has 500 units",
    "WORSE_WITHIN_MARGIN": "significantly worse than the control, but within the margin",
}
NOT_COMPUTABLE = {
    "NO_UNITS": "an arm has no units",
    "ONE_UNIT": "an arm has only one unit",
    "OVERFLOW": "the values are too large to compute with",
    "ZERO_CONTROL": "the control's mean is 0",
    "ZERO_DENOMINATOR": "the denominator is 0",
    "ZERO_VARIANCE": "all units of both arms have the same value",
}


def explain(code: str) -> str:
    """A warning, or the reason why there are no numbers, as a sentence; an unknown code as it is."""
    return WARNINGS.get(code) or NOT_COMPUTABLE.get(code) or visible(code)


def headline(scorecard: Scorecard) -> str:
    """The recommendation in a few words."""
    decision = scorecard.decision
    who = visible(decision.variant) if decision.variant is not None else "the treatment"
    return {
        "ship": f"Ship {who}",
        "roll_back": f"Roll back to {who}" if decision.variant is not None else "Roll back",
        "continue": "Continue: no decision yet",
        "inconclusive": "Inconclusive: no decision at the planned size",
        "invalid": "Invalid: do not decide on these data",
    }[decision.recommendation]


def facts(scorecard: Scorecard) -> tuple[tuple[str, str], ...]:
    """What was looked at, when and how: pairs of a name and a text."""
    analysed = sum(scorecard.health.units.values())
    look = f"{scorecard.look}" if scorecard.look else "not recorded (exploratory)"
    through = scorecard.data_through
    return (
        ("Status", f"{scorecard.status}, phase {scorecard.phase}"),
        ("Method", f"{METHODS.get(scorecard.method, scorecard.method)}, alpha {scorecard.alpha:g}"),
        ("Units", f"{count(analysed)} of {count(scorecard.planned_units)} planned"),
        ("Look", look),
        ("Computed", f"{scorecard.computed_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Data through", f"{through:%Y-%m-%d %H:%M:%S} UTC" if through else "no data yet"),
        ("Plan", "frozen before the first exposure" if scorecard.preregistered else "not preregistered"),
    )


def health_summary(health: Health) -> str:
    """Units by variant and what the checks found, in one line."""
    ratio = health.sample_ratio
    split = ", ".join(f"{visible(variant)} {count(units)}" for variant, units in health.units.items())
    parts = [
        f"analysed {split}" if split else "no units",
        f"sample ratio {'as planned' if ratio.ok else 'NOT as planned'} (p {p_value(ratio.p_value)})",
        f"{count(health.multi_variant_units)} in two variants",
        f"{count(health.mismatched_exposures)} mismatched exposures",
    ]
    return "; ".join(parts)


def health_notes(health: Health) -> tuple[str, ...]:
    """Warnings, and each covariate's balance."""
    notes = [visible(warning) for warning in health.warnings]
    notes += [
        f"balance of {visible(each.covariate)} before the experiment: p {p_value(each.p_value)}"
        for each in health.covariates
    ]
    return tuple(notes)


def interval_name(comparison: ComparisonResult, alpha: float) -> str:
    """For example ``95% confidence interval``."""
    return f"{100 * (1 - alpha):g}% {INTERVALS.get(comparison.interval_kind, 'interval')}"
