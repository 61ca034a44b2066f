"""Whether two experiments that run at once change each other's effect.

The field names are the public format (``GET /experiments/{key}/results/interactions``). Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import estimate_of, stats_of
from abplatform.domain.dimension import NO_SLICE, SEVERAL
from abplatform.domain.events import scalar_as_json
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.health import LEVEL
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Interval
from abplatform.stats.interaction import CrossedArms, check_interaction
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.results import Interval as Bounds
from abplatform.stats.results import optional
from abplatform.stats.srm import equal_shares_p_value

FEWEST = 100
"""Analysed units in each of the four groups from which on an interaction is asked about."""
GROUP_TOO_SMALL = "GROUP_TOO_SMALL"

_Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossedGroup:
    """Units by what they met in both experiments.

    Attributes:
        variant, other_variant: of this experiment, and of the other one.
        units: whose window has closed.
        value: what the metric measures in them; null where that does not exist.
    """

    variant: str
    other_variant: str
    units: int
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """How the effect of one treatment differs with a treatment of another experiment.

    Attributes:
        other, other_variant: the other experiment, and its treatment.
        metric, kind: what is asked about, and its kind, which says what the values are.
        groups: both controls, the treatment alone, the other one alone, and both.
        absolute: the effect with the other treatment less the effect without it.
        relative: the factor that the two lifts gain or lose together, less 1.
        p_value: of no interaction on the absolute scale; ``relative_p_value`` on the relative one.
        adjusted_p_value: of the absolute one, over all that was asked at once (false discovery rate).
        found: whether they interact, at the plan's alpha after the adjustment.
        not_computable, relative_not_computable: why there are no numbers, or null; ``GROUP_TOO_SMALL`` where one of the
            groups has fewer than 100 units.
    """

    other: str
    other_variant: str
    metric: str
    kind: str
    variant: str
    groups: tuple[CrossedGroup, ...]
    absolute: Interval
    relative: Interval
    p_value: float | None
    relative_p_value: float | None
    adjusted_p_value: float | None
    found: bool
    not_computable: str | None
    relative_not_computable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossedExperiment:
    """Another experiment at the same time.

    Attributes:
        experiment, phase: which, in its current phase.
        units: analysed units of this experiment that met exactly one variant there.
        several: those that met more than one there, which are left out.
        balance_p_value: of equal shares of its variants among the variants of this experiment. Where it is very small
            one experiment changes who enters the other, and groups cannot be compared.
        warnings: sentences for people.
    """

    experiment: str
    phase: int
    units: int
    several: int
    balance_p_value: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """What a search for interactions has found, the surest first.

    Attributes:
        alpha: of those that are ``found``, at most this share is expected to be false.
        data_through: latest receipt of an event that was read; null without any, and where no experiment ran at the
            same time, so that none had to be read.
        experiments: those that ran at the same time, on units of the same type.
        interactions: one per other experiment, metric and pair of treatments.
    """

    experiment: str
    phase: int
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    experiments: tuple[CrossedExperiment, ...]
    interactions: tuple[Interaction, ...]


def cross(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    others: Mapping[str, ExperimentDefinition],
    aggregation: Aggregation,
) -> tuple[Interaction, ...]:
    """Check each metric for an interaction of each treatment with each treatment of the other experiments.

    Args:
        definition: plan and variants.
        metrics: definitions of the metrics that it uses.
        others: the other experiments by the name of the dimension that slices by their variants.
        aggregation: reduced cells, with these slices.
    """
    alpha = definition.plan.alpha
    found = [
        interaction
        for name, other in others.items()
        for interaction in _pairs(definition, metrics, other, _by_place(aggregation.slices[name], other))
    ]
    p_values = np.array([np.nan if each.p_value is None else each.p_value for each in found])
    adjusted = benjamini_hochberg(p_values) if found else p_values
    judged = [
        replace(each, adjusted_p_value=optional(p), found=bool(p < alpha))
        for each, p in zip(found, adjusted, strict=True)
    ]
    return tuple(sorted(judged, key=lambda each: (not each.found, each.p_value is None, each.p_value or 0.0)))


def count_crossed(
    definition: ExperimentDefinition, other: ExperimentDefinition, phase: int, cells: Sequence[ArmCell]
) -> CrossedExperiment:
    """How many units met both experiments, and whether one changes who enters the other.

    Args:
        definition: of this experiment.
        other: of the other one.
        phase: of the other one.
        cells: of any one metric, sliced by the other one's variants.
    """
    names = _slice_names(other, cells)
    counts = {(cell.variant, cell.slice): cell.units + cell.open_units for cell in cells}
    table = np.array(
        [[counts.get((variant.key, names[each.key]), 0) for each in other.variants] for variant in definition.variants],
        dtype=np.int64,
    )
    p_value = _balance(table)
    warnings = (
        (
            f"Units of {other.key} do not fall into its variants alike in all variants of {definition.key}: one "
            "changes who enters the other, so that their groups cannot be compared."
        ),
    )
    return CrossedExperiment(
        experiment=other.key,
        phase=phase,
        units=int(table.sum()),
        several=sum(count for (_, slice_), count in counts.items() if slice_ == SEVERAL),
        balance_p_value=p_value,
        warnings=warnings if p_value is not None and p_value < LEVEL else (),
    )


def _balance(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float | None:
    """Of equal shares of each column among the rows, times how many are asked about (Bonferroni)."""
    totals = table.sum(axis=1)
    # The shares of two columns say the same.
    columns = table.T[1:] if table.shape[1] == 2 else table.T
    known = [optional(equal_shares_p_value(column, totals).item()) for column in columns]
    p_values = [p for p in known if p is not None]
    return min(1.0, len(p_values) * min(p_values)) if p_values else None


def _slice_names(other: ExperimentDefinition, cells: Sequence[ArmCell]) -> dict[str, str]:
    """Names of the slices of the other experiment's variants; those that read like another slice keep their quotes."""
    present = {cell.slice for cell in cells}
    quoted = {variant.key: scalar_as_json(variant.key) for variant in other.variants}
    reserved = {NO_SLICE, SEVERAL}
    return {key: text if text in present or key in reserved else key for key, text in quoted.items()}


def _by_place(cells: Sequence[ArmCell], other: ExperimentDefinition) -> Mapping[_Place, ArmCell]:
    keys = {name: key for key, name in _slice_names(other, cells).items()}
    return {(cell.name, cell.variant, keys[cell.slice]): cell for cell in cells if cell.slice in keys}


def _pairs(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    other: ExperimentDefinition,
    cells: Mapping[_Place, ArmCell],
) -> Iterator[Interaction]:
    for metric in metrics:
        for variant in definition.treatments:
            for met in other.treatments:
                places = [(first, second) for second in (other.control, met) for first in (definition.control, variant)]
                four = [cells.get((metric.key, *place)) for place in places]
                groups = tuple(_group(metric, *place, cell) for place, cell in zip(places, four, strict=True))
                yield _check(definition, metric, other.key, groups, [cell for cell in four if cell is not None])


def _group(metric: Metric, variant: str, other_variant: str, cell: ArmCell | None) -> CrossedGroup:
    return CrossedGroup(
        variant=variant,
        other_variant=other_variant,
        units=0 if cell is None else cell.units,
        value=None if cell is None or not cell.units else estimate_of(metric, cell),
    )


def _check(
    definition: ExperimentDefinition,
    metric: Metric,
    other: str,
    groups: tuple[CrossedGroup, ...],
    cells: Sequence[ArmCell],
) -> Interaction:
    both = groups[-1]
    nothing = Interaction(
        other=other,
        other_variant=both.other_variant,
        metric=metric.key,
        kind=metric.kind,
        variant=both.variant,
        groups=groups,
        absolute=Interval(estimate=None, lower=None, upper=None),
        relative=Interval(estimate=None, lower=None, upper=None),
        p_value=None,
        relative_p_value=None,
        adjusted_p_value=None,
        found=False,
        not_computable=GROUP_TOO_SMALL,
        relative_not_computable=GROUP_TOO_SMALL,
    )
    if min(group.units for group in groups) < FEWEST:
        return nothing
    # In the order of the groups: neither, this one only, the other one only, both.
    reduce = stats_of(metric, *cells)
    found = check_interaction(CrossedArms(*(reduce([[cell]]) for cell in cells)), alpha=definition.plan.alpha)
    reason, lift_reason = found.not_computable.item(), found.relative_not_computable.item()
    return replace(
        nothing,
        absolute=_interval(found.absolute),
        relative=_interval(found.relative),
        p_value=optional(found.p_value.item()),
        relative_p_value=optional(found.relative_p_value.item()),
        not_computable=None if reason is None else str(reason),
        relative_not_computable=None if lift_reason is None else str(lift_reason),
    )


def _interval(bounds: Bounds) -> Interval:
    estimate, lower, upper = (optional(part.item()) for part in (bounds.estimate, bounds.lower, bounds.upper))
    return Interval(estimate=estimate, lower=lower, upper=upper)
