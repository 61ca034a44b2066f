"""Interactions between experiments as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from abplatform.domain.interactions import FEWEST, GROUP_TOO_SMALL, CrossedExperiment, Interaction, Interactions
from abplatform.readout import numbers
from abplatform.readout.report import Report, ReportTable, write_seen
from abplatform.readout.rows import write_difference, write_level
from abplatform.readout.wording import explain

_OTHERS = ("Experiment", "Phase", "Units in both", "In several variants", "Balance p")
_COLUMNS = (
    "Other experiment",
    "Metric",
    "Pair",
    "Found",
    "Neither",
    "This only",
    "Other only",
    "Both",
    "Difference",
    "Of lifts",
    "Adjusted p",
)
_TOO_SMALL = f"one of the four groups has fewer than {FEWEST} units"
_NOTES = (
    (
        "Pairs name the treatment of this experiment, and that of the other one. Without an interaction the effect of "
        "this one is the same with and without the other."
    ),
    (
        "Difference: the effect with the other treatment less the effect without it, in points, units or time. Of "
        "lifts: by how much the treatment's ratio to its control is higher (above 0) or lower with the other treatment."
    ),
    (
        "Adjusted p is that of the difference, over all that was asked (false discovery rate). An interaction half as "
        "large as an effect takes about sixteen times the units to be seen: nothing found does not mean that there is "
        "none."
    ),
    "Exploratory: it decides nothing, and nothing is recorded.",
)


def report_interactions(found: Interactions) -> Report:
    """Write interactions as a report."""
    return Report(
        kind="Interactions",
        title=f"Experiments beside {numbers.visible(found.experiment)}, phase {found.phase}",
        facts=(_headline(found), _seen(found)),
        warnings=tuple(numbers.visible(warning) for other in found.experiments for warning in other.warnings),
        tables=(
            ReportTable(
                title="At the same time",
                columns=_OTHERS,
                rows=tuple(_other(each) for each in found.experiments),
                empty="No experiment ran at the same time on the same units.",
            ),
            ReportTable(
                title="Interactions",
                columns=_COLUMNS,
                rows=tuple(_row(each) for each in found.interactions),
                keys=3,
                second=frozenset({"Found", "Difference", "Of lifts", "Adjusted p"}),
                empty="Nothing to ask about.",
            ),
        ),
        notes=(*_missing(found), *_NOTES),
    )


def _headline(found: Interactions) -> str:
    asked = sum(each.not_computable is None for each in found.interactions)
    seen = sum(each.found for each in found.interactions)
    if not asked:
        return "There was nothing to test."
    return f"{numbers.plural(seen, 'interaction')} found among {numbers.count(asked)} tested."


def _seen(found: Interactions) -> str:
    if found.experiments:
        return write_seen(found.computed_at, found.data_through)
    return f"Computed {found.computed_at:%Y-%m-%d %H:%M:%S} UTC; no event had to be read."


def _other(other: CrossedExperiment) -> tuple[str, ...]:
    return (
        numbers.visible(other.experiment),
        str(other.phase),
        numbers.count(other.units),
        numbers.count(other.several),
        numbers.p_value(other.balance_p_value),
    )


def _row(each: Interaction) -> tuple[str, ...]:
    return (
        numbers.visible(each.other),
        numbers.visible(each.metric),
        f"{numbers.visible(each.variant)} × {numbers.visible(each.other_variant)}",
        "yes" if each.found else "no" if each.not_computable is None else numbers.NOTHING,
        *(write_level(each.kind, group.value) for group in each.groups),
        write_difference(each.kind, each.absolute.estimate),
        numbers.lift(each.relative.estimate),
        numbers.p_value(each.adjusted_p_value),
    )


def _missing(found: Interactions) -> Iterator[str]:
    reasons = dict.fromkeys((each.other, each.not_computable) for each in found.interactions if each.not_computable)
    common = {each.experiment: each.units for each in found.experiments}
    for other, reason in reasons:
        if not common[other]:
            yield f"Not tested with {numbers.visible(other)}: 0 units met both."
            continue
        said = _TOO_SMALL if reason == GROUP_TOO_SMALL else explain(reason or "")
        yield f"Not tested with {numbers.visible(other)}, wholly or in part: {said}."
