"""Past experiments on one metric as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from abplatform.domain.portfolio import (
    FEWEST,
    NO_LOOK,
    NOT_KEPT,
    TOO_FEW_EXPERIMENTS,
    UNSOUND,
    PastEffect,
    Portfolio,
)
from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers
from abplatform.readout.report import Forest, Mark, Report, ReportTable
from abplatform.readout.wording import explain

_COLUMNS = (
    "Experiment",
    "Variant",
    "Last look",
    "Shipped",
    "As found at one look",
    "Interval",
    "Likely true",
    "Its interval",
)
_SUM = ("Shipped variants", "Sum as found", "Expected sum")
_REASONS = {
    TOO_FEW_EXPERIMENTS: f"that takes at least {FEWEST} experiments with an effect",
    NO_LOOK: "nobody has looked at its current phase",
    NOT_KEPT: "its look is from before what it rests on was kept",
    UNSOUND: "its data are not sound",
}
_APART = 0.12
"""How far from that of no effect the text at an end of the scale must stand, not to run into it."""
_CAPTION = "Above, in grey, what the experiment found; below, in blue, what of it is likely to be true."


def report_portfolio(found: Portfolio) -> Report:
    """Write a portfolio as a report."""
    return Report(
        kind="Portfolio",
        title=f"Past experiments on {numbers.visible(found.metric)}",
        facts=tuple(_facts(found)),
        tables=(
            ReportTable(
                title="Effects",
                columns=_COLUMNS,
                rows=tuple(_row(effect) for effect in found.effects),
                keys=2,
                second=frozenset({"Last look", "Shipped"}),
                empty="No past experiment has an effect on it.",
            ),
            ReportTable(title="What was shipped", columns=_SUM, rows=(_sum(found),)),
        ),
        notes=(*_notes(found), *found.assumptions),
        forest=_draw(found),
    )


def _facts(found: Portfolio) -> Iterator[str]:
    yield found.rule
    if found.population is None:
        yield f"Not shrunken: {_explain(found.not_computable or '')}."
    else:
        error = numbers.lift(found.population.mean_standard_error).removeprefix("+")
        spread = numbers.lift(found.population.scale).removeprefix("+")
        yield (
            f"True effects: mean {numbers.lift(found.population.mean)} (standard error {error}), standard deviation "
            f"{spread}."
        )


def _row(effect: PastEffect) -> tuple[str, ...]:
    shrunken = effect.shrunken
    return (
        numbers.visible(effect.experiment),
        numbers.visible(effect.variant),
        f"{effect.computed_at:%Y-%m-%d}",
        "yes" if effect.shipped else "",
        numbers.lift(effect.raw.estimate),
        numbers.bounds(effect.raw, kind="lift"),
        numbers.NOTHING if shrunken is None else numbers.lift(shrunken.estimate),
        "" if shrunken is None else numbers.bounds(shrunken, kind="lift"),
    )


def _sum(found: Portfolio) -> tuple[str, ...]:
    shipped = found.shipped
    return numbers.count(shipped.variants), numbers.lift(shipped.naive), numbers.lift(shipped.expected)


def _notes(found: Portfolio) -> Iterator[str]:
    yield f"Intervals are of {100 * (1 - found.alpha):g}%, each for itself."
    yield (
        "As found: from the last look by itself. Where an experiment was watched as it went (sequential), its own "
        "readout has a wider interval, which stays valid at every look."
    )
    if found.shipped.variants:
        yield (
            "The sum as found is too high: variants were shipped since they looked good, and the lucky ones look best."
        )
    versions = sorted({effect.version for effect in found.effects})
    if len(versions) > 1:
        yield f"Experiments used the versions {', '.join(map(str, versions))} of the metric."
    for left in found.left_out:
        variant = "" if left.variant is None else f", {numbers.visible(left.variant)}"
        yield f"Left out: {numbers.visible(left.experiment)}{variant} ({_explain(left.reason)})."


def _explain(code: str) -> str:
    return _REASONS.get(code) or explain(code)


def _draw(found: Portfolio) -> Forest | None:
    """The effects on one scale; nothing where they are not shrunken."""
    if found.population is None:
        return None
    ends = [
        end
        for effect in found.effects
        for interval in (effect.raw, effect.shrunken)
        if interval is not None
        for end in (interval.lower, interval.upper)
        if end is not None
    ]
    low, high = min(0.0, *ends), max(0.0, *ends)
    zero = -low / (high - low)

    def place(interval: Interval | None) -> tuple[float, float, float]:
        known = Interval(estimate=0.0, lower=0.0, upper=0.0) if interval is None else interval
        estimate, lower, upper = (
            ((end or 0.0) - low) / (high - low) for end in (known.estimate, known.lower, known.upper)
        )
        return estimate, lower, upper

    return Forest(
        title="As found, and likely true",
        caption=_CAPTION,
        marks=tuple(
            Mark(name=_name(effect), raw=place(effect.raw), shrunken=place(effect.shrunken)) for effect in found.effects
        ),
        zero=zero,
        low=numbers.lift(low) if zero > _APART else "",
        high=numbers.lift(high) if zero < 1 - _APART else "",
    )


def _name(effect: PastEffect) -> str:
    name = f"{numbers.visible(effect.experiment)}: {numbers.visible(effect.variant)}"
    return name if len(name) <= 40 else f"{name[:39]}…"
