"""The looks of a phase as rows of finished texts: the one table behind text and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abplatform.domain.scorecard import Scorecard
from abplatform.readout import wording
from abplatform.readout.numbers import count, lift, visible


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRow:
    """One look.

    Attributes:
        lifts: of the first primary metric, one per treatment.
        recommendation: of the plan at this look.
    """

    look: str
    computed: str
    units: str
    lifts: tuple[str, ...]
    recommendation: str


def build_looks(looks: Sequence[Scorecard]) -> tuple[LookRow, ...]:
    """One row per look, in their order."""
    return tuple(
        LookRow(
            look=str(each.look),
            computed=f"{each.computed_at:%Y-%m-%d %H:%M:%S}",
            units=count(wording.planned_progress(each).closed),
            lifts=_first_lifts(each),
            recommendation=wording.headline(each),
        )
        for each in looks
    )


def _first_lifts(look: Scorecard) -> tuple[str, ...]:
    first = next((metric for metric in look.metrics if metric.role == "primary"), None)
    effects = [] if first is None else first.comparisons
    return tuple(f"{visible(each.variant)} {lift(each.relative.estimate)}" for each in effects)
