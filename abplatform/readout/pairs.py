"""Early signs beside the late outcomes that they stand for, as finished texts: one table behind text and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from abplatform.domain.late_outcomes import say_share
from abplatform.domain.scorecard import ComparisonResult, MetricResult, Scorecard
from abplatform.readout.numbers import NOTHING, visible
from abplatform.readout.rows import choose_tone, write_lift
from abplatform.readout.wording import VERDICTS, late_outcome

TITLE = "Early signs and late outcomes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A metric of a pair, in one treatment.

    Attributes:
        known: of how many units.
        lift: relative difference with its interval.
        verdict: a word for people; ``tone`` is ``good``, ``bad`` or ``flat``.
    """

    metric: str
    known: str
    lift: str
    verdict: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An early sign and its outcome, in one treatment."""

    arm: str
    early: Side
    late: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All pairs of a scorecard, and a sentence about each."""

    rows: tuple[Pair, ...]
    sentences: tuple[str, ...]


def build_pairs(scorecard: Scorecard) -> Pairs:
    """Put each metric that is an early sign beside its outcome; without any there are no rows."""
    signs = [metric for metric in scorecard.metrics if metric.outcome is not None]
    sentences = (late_outcome(metric) for metric in signs)
    return Pairs(
        rows=tuple(pair for metric in signs for pair in _pairs(scorecard, metric)),
        sentences=tuple(sentence for sentence in sentences if sentence is not None),
    )


def _pairs(scorecard: Scorecard, sign: MetricResult) -> Iterator[Pair]:
    outcome = sign.outcome
    if outcome is None:
        return
    # A scorecard of one metric has no result of the outcome, but for what stands beside the early sign.
    results = {metric.metric: metric for metric in scorecard.metrics}
    late = results.get(outcome.metric)
    compared = {each.variant: each for each in late.comparisons} if late is not None else {}
    early_known = None if sign.maturity is None else sign.maturity.known_share
    for comparison in sign.comparisons:
        yield Pair(
            arm=visible(comparison.variant),
            early=_side(scorecard, sign.metric, early_known, comparison.verdict, comparison),
            late=_side(
                scorecard,
                outcome.metric,
                outcome.known_share,
                outcome.verdicts[comparison.variant],
                compared.get(comparison.variant),
            ),
        )


def _side(
    scorecard: Scorecard, metric: str, known: float | None, verdict: str, comparison: ComparisonResult | None
) -> Side:
    return Side(
        metric=visible(metric),
        known=say_share(known),
        lift=NOTHING if comparison is None else write_lift(comparison),
        verdict=VERDICTS[verdict],
        tone="flat" if comparison is None else choose_tone(scorecard, comparison),
    )
