"""Sufficient statistics as an engine gives them: the seam between the lake and inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import EventKind
from abplatform.domain.metric import Metric

WATCHABLE = frozenset({"conversion", "count", "sum", "retention", "funnel"})
"""Kinds of metrics that add up while windows are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeState:
    """One state of each table of a project, by Iceberg's number; None where the table had no rows yet."""

    exposures: int | None
    conversions: int | None

    def of(self, kind: EventKind) -> int | None:
        """The state of one table."""
        return self.exposures if kind == "exposure" else self.conversions


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationRequest:
    """What an engine has to reduce.

    Attributes:
        project: key of the project.
        experiment: key of the experiment.
        phase: whose exposures count.
        variants: declared variant keys; exposures of others are not counted.
        metrics: all metrics, reduced in one pass.
        covariates: numeric exposure attributes to reduce too.
        adjusted: keys of the metrics to reduce jointly with the unit's value of them before its first exposure, in the
            metric's look-back (``first - cuped_lookback <= time < first``).
        clustered: whether clusters were randomised: moments over clusters are needed, and clusters that an earlier
            phase had are left out whole.
        since: first exposures before it do not count; none for external experiments.
        enrolled_until: exposures at or after it do not count, and so no unit enters; windows and conversions of those
            that are in go on (the end of enrolment, or of a past phase).
        until: exposures and conversions at or after it do not count (the stop of a served experiment).
        as_of: now; units whose window has not closed by ``min(as_of, until)`` leave that metric.
        dimensions: what to slice by, each for itself.
        watched: keys of the metrics whose harm is watched: of all units, those with open windows included; as far as
            their kind is one of `WATCHABLE`.
        daily: whether what was known at the end of each day is wanted too.
        unit_type: set where units of another type than the project's own are analysed: a conversion then belongs to
            the unit of that type that it names. One that names none belongs to its ``unit``, as everywhere else:
            pseudonyms of two types never meet, so that this concerns facts that were written whole (imports).
        time_zone: of the project, an IANA name; decides which days windows of calendar days are of.
        state: of the lake; the present one of each table where there is none.
        exposed_between: first and last day (in UTC) of exposures in that state, which engines fill in.
    """

    project: str
    experiment: str
    phase: int
    variants: tuple[str, ...]
    metrics: tuple[Metric, ...]
    as_of: datetime
    covariates: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    clustered: bool = False
    since: datetime | None = None
    enrolled_until: datetime | None = None
    until: datetime | None = None
    dimensions: tuple[Dimension, ...] = ()
    watched: tuple[str, ...] = ()
    daily: bool = False
    unit_type: str | None = None
    time_zone: str = "UTC"
    state: LakeState | None = None
    exposed_between: tuple[date, date] | None = None

    def adjusts(self, metric: Metric) -> bool:
        """Whether the metric's value before the first exposure is wanted too."""
        return metric.key in self.adjusted and metric.has_covariate

    def watches(self, metric: Metric) -> bool:
        """Whether what all units have brought so far is wanted too."""
        return metric.key in self.watched and metric.kind in WATCHABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Which rows of a table of the lake were read.

    Attributes:
        sequence_number: of the last commit whose rows were; 0 before the first.
        rows: how many they were.
    """

    sequence_number: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptUnits:
    """What an answer knew of each unit, kept in files beside the lake, for later answers to go on from.

    Attributes:
        folder: holds the files, and nothing else.
        parts: names of the files in it, by what they hold.
        exposures, conversions: what was read.
        settled_before: units that were first exposed before it have their values here, others their conversions.
        first_day: the first day of events that may be in it; None where there were none.
        unknown_variants: see `Aggregation`.
    """

    folder: str
    parts: Mapping[str, tuple[str, ...]]
    exposures: Covered
    conversions: Covered
    settled_before: datetime
    first_day: date | None
    unknown_variants: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyCells:
    """What a look at the end of a day (in UTC) would have found, had it known which units to leave out.

    Attributes:
        cells: one per metric x variant, as `Aggregation.cells`.
    """

    day: date
    cells: tuple[ArmCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """Everything about an experiment that inference needs.

    Attributes:
        exposed: all units by the variant that they met first, those seen in two variants included.
        analysed: units that count, by variant.
        multi_variant: units seen in two variants, by the variant that they met first.
        exposed_clusters, analysed_clusters, multi_variant_clusters: the same for clusters; empty where not clustered.
            A cluster is multi-variant when its units met more than one variant.
        mismatched_exposures: exposures of analysed-phase units whose variant is not what this platform draws.
        undrawn_exposures: those of them whose unit it gives no variant: outside the slots, or held out.
        unknown_variants: exposures by variant keys that the experiment does not have.
        earlier_phase_units: units that would be in this phase, but an earlier one had them, or where clusters were
            randomised their cluster; of the counts above only ``unknown_variants`` has them. None for phase 1.
        cells: one per metric x variant, zeros included for variants without units.
        covariates: one per covariate x variant.
        data_through: latest receipt of any event in the lake's tables that was read; None without any.
        slices: by name of the dimension one cell per metric x slice x variant.
        days: by day without gaps, where they were asked for; at most the last 1,000.
    """

    exposed: Mapping[str, int]
    analysed: Mapping[str, int]
    multi_variant: Mapping[str, int]
    exposed_clusters: Mapping[str, int]
    analysed_clusters: Mapping[str, int]
    multi_variant_clusters: Mapping[str, int]
    mismatched_exposures: int
    unknown_variants: Mapping[str, int]
    cells: tuple[ArmCell, ...]
    covariates: tuple[ArmCell, ...]
    data_through: datetime | None
    undrawn_exposures: int = 0
    earlier_phase_units: int | None = None
    slices: Mapping[str, tuple[ArmCell, ...]] = field(default_factory=dict)
    days: tuple[DailyCells, ...] = ()
