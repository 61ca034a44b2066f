"""One metric of one variant, reduced: what an engine gives, and inference takes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncapped:
    """The values of a capped metric as they are.

    Attributes:
        total: exact sum.
        m2, m3: sums of squared and cubed deviations from their mean.
        capped: units whose value exceeds the cap.
        cap: the most that a unit counts for.
    """

    total: Decimal
    m2: float
    m3: float
    capped: int
    cap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Denominator:
    """What stands below the line of a ratio, over the same units.

    Attributes:
        total: exact sum.
        mean, m2: mean over units and sum of squared deviations from it.
        product: sum of products of its deviations with those of what stands above the line.
    """

    total: Decimal
    mean: float
    m2: float
    product: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowCuts:
    """How many values lie at or below cut points, over units, or over clusters of them.

    Attributes:
        cuts: rising; the same in all variants and slices.
        members: units (or clusters) of the cell, those without a value included.
        mean_d, m2_d: mean over members of the number of their values, and sum of squared deviations from it. A time
            that has no end is a value above all cut points.
        mean_y, m2_y, c_yd: per cut point: mean over members of the number of values at or below it, sum of squared
            deviations from it, and of products with those of the number of all their values.
    """

    cuts: tuple[float, ...]
    members: int
    mean_d: float
    m2_d: float
    mean_y: tuple[float, ...]
    m2_y: tuple[float, ...]
    c_yd: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """Units by when they finished, or were last seen without having.

    Attributes:
        cuts: times in seconds, rising.
        finished: units that finished after the time before and up to this one.
        censored: units last seen in the same interval; those for whom time never began to run are in none, like those
            who were seen for longer.
    """

    cuts: tuple[float, ...]
    finished: tuple[int, ...]
    censored: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """All units of a variant with what they have brought so far (up to the cap), however short that is ago.

    Both variants have followed their units equally long, so that harm shows before windows close.

    Attributes:
        units, nonzero: how many, and those whose value is not 0.
        mean, m2, and all that is over clusters: as of `ArmCell`.
    """

    units: int
    nonzero: int
    mean: float
    m2: float
    clusters: int | None = None
    cluster_mean_y: float | None = None
    cluster_mean_d: float | None = None
    cluster_m2_y: float | None = None
    cluster_m2_d: float | None = None
    cluster_c_yd: float | None = None
    cluster_nonzero: int | None = None
    cluster_short: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCell:
    """One metric (or covariate) of one variant (in one slice), reduced.

    Attributes:
        name: key of the metric, or name of the covariate.
        units: analysed units.
        open_units: units left out because their window is still open (or they lack the covariate).
        nonzero: analysed units whose value is not 0.
        total: sum of the values, exact.
        mean, m2: mean over units and sum of squared deviations from it. Of times to an event ``total``, ``mean`` and
            ``m2`` are of those who got there (``nonzero``), in seconds; of quantiles of events they count events that
            have a value.
        before_mean, before_m2, before_c: mean over the same units of their values before the first exposure, sum of
            squared deviations from it, and of products of those with the deviations of the values themselves; None
            where the metric is not adjusted.
        clusters: number of clusters; the fields after it are over clusters, of their sums of values (``y``) and
            of units, or of denominators, or of units that got there (``d``); None where the experiment is not
            clustered.
        cluster_nonzero, cluster_short: clusters whose ``y`` is not 0, and those whose ``y`` is not their ``d``; of
            rates those with a unit that did, and with one that did not. Looks from before they were kept lack them.
        m3: sum of cubed deviations from the mean; of counts and sums.
        uncapped: of a capped metric: the values as they are.
        denominator: of a ratio.
        steps: of a funnel: units that took the first, the first two, ... of its steps.
        below: of quantiles, and of times to an event in a window.
        lifetimes: of times to an event without a window.
        watch: of metrics whose harm is watched.
    """

    name: str
    variant: str
    slice: str | None = None
    units: int
    open_units: int
    nonzero: int
    total: Decimal
    mean: float
    m2: float
    before_mean: float | None = None
    before_m2: float | None = None
    before_c: float | None = None
    clusters: int | None = None
    cluster_mean_y: float | None = None
    cluster_mean_d: float | None = None
    cluster_m2_y: float | None = None
    cluster_m2_d: float | None = None
    cluster_c_yd: float | None = None
    cluster_nonzero: int | None = None
    cluster_short: int | None = None
    m3: float | None = None
    uncapped: Uncapped | None = None
    denominator: Denominator | None = None
    steps: tuple[int, ...] | None = None
    below: BelowCuts | None = None
    lifetimes: Lifetimes | None = None
    watch: Watch | None = None
