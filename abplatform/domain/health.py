"""Whether the data of an experiment can be trusted, before anyone reads its results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import cluster_stats, mean_stats
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.soundness import CovariateBalance, CovariateSource, Health, SampleRatio
from abplatform.stats.balance import check_balance
from abplatform.stats.srm import check_sample_ratio, equal_shares_p_value

LEVEL = 0.001
"""Below this p-value a check says that something is broken: it must not cry wolf on sound experiments."""

SILENT_FROM = 100
"""Units from which on a metric that nobody has is worth a warning."""

RATIO_WARNING = (
    "Sample ratio mismatch: the variants have other shares of units than planned. Something in assignment, logging "
    "or filtering is broken; no result can be trusted until it is found."
)


def check_health(
    definition: ExperimentDefinition, aggregation: Aggregation, *, previous: Health | None = None
) -> Health:
    """Check shares of units, units in two variants, agreement of assignments, and balance of covariates.

    Where clusters were randomised, clusters are counted. Of an aggregation by slices no covariates are compared: they
    are a matter of the whole.

    Args:
        definition: names the planned weights.
        aggregation: what the engine counted.
        previous: health at the last look of this phase: sequential evidence once seen stays.
    """
    ratio = _sample_ratio(definition, aggregation, previous)
    multi_p = _multi_variant_p_value(definition, aggregation)
    balance = (
        *_balance(definition, aggregation.covariates, source="attribute"),
        *_balance(definition, _before(aggregation.cells), source="metric"),
    )
    return Health(
        ok=ratio.ok,
        units={variant.key: aggregation.analysed.get(variant.key, 0) for variant in definition.variants},
        sample_ratio=ratio,
        multi_variant_units=_left_out(aggregation),
        multi_variant_p_value=multi_p,
        mismatched_exposures=aggregation.mismatched_exposures,
        earlier_phase_units=aggregation.earlier_phase_units,
        covariates=balance,
        warnings=(
            *_ratio_warnings(ratio),
            *_multi_variant_warnings(definition, aggregation, multi_p),
            *_exposure_warnings(aggregation),
            *_silence_warnings(aggregation.cells),
            *_balance_warnings(balance),
        ),
    )


def _left_out(aggregation: Aggregation) -> int:
    """Units that are not analysed: those seen in two variants, and all of a cluster that met several."""
    return sum(aggregation.exposed.values()) - sum(aggregation.analysed.values())


def _sample_ratio(definition: ExperimentDefinition, aggregation: Aggregation, previous: Health | None) -> SampleRatio:
    clustered = definition.clustered
    exposed = aggregation.exposed_clusters if clustered else aggregation.exposed
    kept = aggregation.analysed_clusters if clustered else aggregation.analysed
    before = previous.sample_ratio if previous else None
    analysed = _check_ratio(definition, kept, before.analysed if before else None)
    everyone = _check_ratio(definition, exposed, before)
    return SampleRatio(
        p_value=everyone.p_value,
        sequential_p_value=everyone.sequential_p_value,
        ok=everyone.ok and analysed.ok,
        analysed=analysed,
    )


def _check_ratio(
    definition: ExperimentDefinition, counts: Mapping[str, int], previous: SampleRatio | None
) -> SampleRatio:
    earlier = 1.0 if previous is None or previous.sequential_p_value is None else previous.sequential_p_value
    check = check_sample_ratio(
        [counts.get(variant.key, 0) for variant in definition.variants],
        [float(variant.weight) for variant in definition.variants],
        previous=earlier,
    )
    return SampleRatio(
        p_value=check.p_value, sequential_p_value=check.sequential_p_value, ok=check.sequential_p_value >= LEVEL
    )


def _multi_variant_p_value(definition: ExperimentDefinition, aggregation: Aggregation) -> float | None:
    """Whether the arms have the same share of units (clusters) seen in two variants, by the one met first."""
    clustered = definition.clustered
    multi = aggregation.multi_variant_clusters if clustered else aggregation.multi_variant
    exposed = aggregation.exposed_clusters if clustered else aggregation.exposed
    arms = [variant.key for variant in definition.variants]
    p_value = float(equal_shares_p_value([multi.get(arm, 0) for arm in arms], [exposed.get(arm, 0) for arm in arms]))
    return p_value if math.isfinite(p_value) else None


def _before(cells: Sequence[ArmCell]) -> list[ArmCell]:
    """What CUPED adjusts for: the metrics themselves, before the first exposure."""
    return [
        replace(cell, mean=cell.before_mean, m2=cell.before_m2)
        for cell in cells
        if cell.before_mean is not None and cell.before_m2 is not None
    ]


def _balance(
    definition: ExperimentDefinition, cells: Sequence[ArmCell], *, source: CovariateSource
) -> Iterator[CovariateBalance]:
    reduce = cluster_stats if definition.clustered else mean_stats
    whole = {(cell.name, cell.variant): cell for cell in cells if cell.slice is None}
    for name in dict.fromkeys(name for name, _ in whole):
        arms = [whole[name, variant.key] for variant in definition.variants]
        p_value = float(check_balance([reduce([[cell]]) for cell in arms]).p_value.item())
        yield CovariateBalance(
            covariate=name,
            means={cell.variant: cell.mean if cell.units else None for cell in arms},
            p_value=p_value if math.isfinite(p_value) else None,
            source=source,
        )


def _ratio_warnings(ratio: SampleRatio) -> list[str]:
    if ratio.ok:
        return []
    return [RATIO_WARNING]


def _multi_variant_warnings(
    definition: ExperimentDefinition, aggregation: Aggregation, p_value: float | None
) -> list[str]:
    units = _left_out(aggregation)
    if not units:
        return []
    sentences = [f"{units} units were seen in two variants; they are left out."]
    if definition.clustered:
        clusters = sum(aggregation.multi_variant_clusters.values())
        sentences = [f"{clusters} clusters have units in several variants; all their {units} units are left out."]
    if p_value is not None and p_value < LEVEL:
        sentences.append("Their share differs between the arms, so that leaving them out can bias the results.")
    return sentences


def _exposure_warnings(aggregation: Aggregation) -> list[str]:
    sentences = []
    if aggregation.earlier_phase_units and not any(aggregation.exposed.values()):
        sentences.append(
            "Everybody in this phase was met in an earlier one, or belongs to a cluster that was: nobody counts. "
            "Raise the coverage if there is room, or make another experiment."
        )
    if aggregation.mismatched_exposures:
        sentences.append(
            f"{aggregation.mismatched_exposures} exposures carry another variant than this platform draws for the unit."
        )
    if aggregation.undrawn_exposures:
        count = aggregation.undrawn_exposures
        sentences.append(f"{count} of them are of units that should have none: outside the coverage, or held out.")
    if aggregation.unknown_variants:
        names = ", ".join(sorted(aggregation.unknown_variants))
        count = sum(aggregation.unknown_variants.values())
        sentences.append(f"{count} exposures name variants that the experiment does not have ({names}); left out.")
    return sentences


def _silence_warnings(cells: Sequence[ArmCell]) -> list[str]:
    """Metrics that nobody has: a guardrail on an event that is misspelt, or not sent, looks safe."""
    units, nonzero = Counter[str](), Counter[str]()
    for cell in cells:
        units[cell.name] += cell.units
        nonzero[cell.name] += cell.nonzero
    silent = [name for name, count in units.items() if count >= SILENT_FROM and not nonzero[name]]
    return [f"Nobody in any variant has {name}: make sure that its event is sent, under that name." for name in silent]


def _balance_warnings(balance: Sequence[CovariateBalance]) -> list[str]:
    return [
        f"{_describe(each)} differed between the variants before the exposure (p = {each.p_value:.2g})."
        for each in balance
        if each.p_value is not None and each.p_value < LEVEL
    ]


def _describe(balance: CovariateBalance) -> str:
    return f"The metric {balance.covariate}" if balance.source == "metric" else balance.covariate
