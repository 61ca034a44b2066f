"""Whether the data of a look can be trusted, as its document says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CovariateSource = Literal["attribute", "metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Whether units (clusters, where those were randomised) fell into variants as planned.

    Attributes:
        p_value: chi-square (exact for few units), as it stands now.
        sequential_p_value: always-valid; decides ``ok`` at 0.001.
        analysed: the same on the units that are analysed, multi-variant units left out.
    """

    p_value: float | None
    sequential_p_value: float | None
    ok: bool
    analysed: SampleRatio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CovariateBalance:
    """Whether a covariate from before the exposure is alike in all variants, as randomisation makes it.

    Attributes:
        covariate: name of the attribute, or key of the metric.
        means: by variant.
        source: ``attribute`` of the exposures, or ``metric`` that CUPED adjusts, as it was before them: one name may be
            both; null in looks from before it was told.
    """

    covariate: str
    means: Mapping[str, float | None]
    p_value: float | None
    source: CovariateSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the data can be trusted.

    Attributes:
        units: analysed units by variant.
        multi_variant_units: units seen in two variants (or in a cluster that was); they are left out.
        multi_variant_p_value: of equal shares of them in all arms, at this look; leaving them out else biases.
        mismatched_exposures: exposures whose variant is not what this platform draws.
        earlier_phase_units: units that are left out, since an earlier phase met them (where clusters were randomised:
            any unit of their cluster); null for phase 1, and in looks from before they were counted.
        warnings: sentences for people.
    """

    ok: bool
    units: Mapping[str, int]
    sample_ratio: SampleRatio
    multi_variant_units: int
    multi_variant_p_value: float | None
    mismatched_exposures: int
    earlier_phase_units: int | None = None
    covariates: tuple[CovariateBalance, ...] = ()
    warnings: tuple[str, ...] = ()
