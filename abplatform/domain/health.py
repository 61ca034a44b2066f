"""Whether the data of an experiment can be trusted, before anyone reads its results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from abplatform.domain.aggregates import Aggregation, ArmCell
from abplatform.domain.arms import mean_stats
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.scorecard import CovariateBalance, Health, SampleRatio
from abplatform.stats.balance import check_balance
from abplatform.stats.srm import check_sample_ratio

LEVEL = 0.001
"""Below this p-value a check says that something is broken: it must not cry wolf on sound experiments."""

RATIO_WARNING = (
    "Sample ratio mismatch: the variants have other shares of units than planned. Something in assignment, logging "
    "or filtering is broken; no result can be trusted until it is found."
)


def check_health(
    definition: ExperimentDefinition, aggregation: Aggregation, *, previous: Health | None = None
) -> Health:
    """Check shares of units, units in two variants, agreement of assignments, and balance of covariates.

    Where clusters were randomised, clusters are counted.

    Args:
        definition: names the planned weights.
        aggregation: what the engine counted.
        previous: health at the last look of this phase: sequential evidence once seen stays.
    """
    ratio = _sample_ratio(definition, aggregation, previous)
    multi = aggregation.multi_variant_clusters if definition.clustered else aggregation.multi_variant
    exposed = aggregation.exposed_clusters if definition.clustered else aggregation.exposed
    multi_p = _share_p_value(definition, multi, exposed)
    balance = tuple(_balance(name, definition, aggregation.covariates) for name in definition.covariates)
    multi_ok = multi_p is None or multi_p >= LEVEL
    return Health(
        ok=ratio.ok and multi_ok,
        units={variant.key: aggregation.analysed.get(variant.key, 0) for variant in definition.variants},
        sample_ratio=ratio,
        multi_variant_units=sum(aggregation.multi_variant.values()),
        multi_variant_p_value=multi_p,
        mismatched_exposures=aggregation.mismatched_exposures,
        covariates=balance,
        warnings=(
            *_ratio_warnings(ratio),
            *_multi_variant_warnings(aggregation, multi_ok),
            *_exposure_warnings(aggregation),
            *_balance_warnings(balance),
        ),
    )


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


def _share_p_value(
    definition: ExperimentDefinition, multi: Mapping[str, int], exposed: Mapping[str, int]
) -> float | None:
    """Whether the units in two variants fall on the arms like all units do."""
    arms = [variant.key for variant in definition.variants if exposed.get(variant.key, 0)]
    if len(arms) < 2 or not sum(multi.values()):
        return None
    return check_sample_ratio([multi.get(arm, 0) for arm in arms], [exposed[arm] for arm in arms]).p_value


def _balance(name: str, definition: ExperimentDefinition, cells: Sequence[ArmCell]) -> CovariateBalance:
    by_variant = {cell.variant: cell for cell in cells if cell.name == name and cell.slice is None}
    arms = [by_variant[variant.key] for variant in definition.variants]
    p_value = float(check_balance([mean_stats([[cell]]) for cell in arms]).p_value.item())
    return CovariateBalance(
        covariate=name,
        means={cell.variant: cell.mean if cell.units else None for cell in arms},
        p_value=p_value if math.isfinite(p_value) else None,
    )


def _ratio_warnings(ratio: SampleRatio) -> list[str]:
    if ratio.ok:
        return []
    return [RATIO_WARNING]


def _multi_variant_warnings(aggregation: Aggregation, ok: bool) -> list[str]:
    count = sum(aggregation.multi_variant.values())
    if not count:
        return []
    sentences = [f"{count} units were seen in two variants; they are left out."]
    if not ok:
        sentences.append("Their share differs between the arms, so leaving them out biases the results.")
    return sentences


def _exposure_warnings(aggregation: Aggregation) -> list[str]:
    sentences = []
    if aggregation.mismatched_exposures:
        sentences.append(
            f"{aggregation.mismatched_exposures} exposures carry another variant than this platform draws for the unit."
        )
    if aggregation.unknown_variants:
        names = ", ".join(sorted(aggregation.unknown_variants))
        count = sum(aggregation.unknown_variants.values())
        sentences.append(f"{count} exposures name variants that the experiment does not have ({names}); left out.")
    return sentences


def _balance_warnings(balance: Sequence[CovariateBalance]) -> list[str]:
    return [
        f"{each.covariate} differed between the variants before the exposure (p = {each.p_value:.2g})."
        for each in balance
        if each.p_value is not None and each.p_value < LEVEL
    ]
