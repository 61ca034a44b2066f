"""Rows of an engine's answer turned into cells, zeros included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.arm_cell import ArmCell, BelowCuts, Denominator, Lifetimes, Uncapped, Watch
from abplatform.domain.dimension import NO_SLICE, REST, SEVERAL
from abplatform.domain.metric import Metric
from abplatform.warehouse.ordered import MICROSECONDS

Row = Mapping[str, Any]

Place = tuple[str, str | None]
"""A variant and the raw text of a slice."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """What is known of the order of one metric's values, by variant and slice."""

    below: Mapping[Place, BelowCuts] = field(default_factory=dict)
    lifetimes: Mapping[Place, Lifetimes] = field(default_factory=dict)


def count_map(rows: Iterable[Row], column: str, variants: Sequence[str]) -> dict[str, int]:
    """A column of counts by variant, for all declared variants in their order."""
    found = {row["variant"]: int(row[column]) for row in rows}
    return {variant: found.get(variant, 0) for variant in variants}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an engine found about all units, or by the slices of one dimension.

    Attributes:
        moments: see `moments.moments`.
        clusters: see `moments.cluster_moments`; nothing where the experiment is not clustered.
        cuts: see `cut_counts.count_cuts`, by position of the metric.
    """

    moments: Sequence[Row]
    clusters: Sequence[Row] = ()
    cuts: Mapping[int, Cuts] = field(default_factory=dict)

    def slices(self) -> dict[str | None, str]:
        """Names of the slices that there are, by their raw text."""
        return name_slices(row["slice"] for row in self.moments)

    def at(self, place: Place) -> tuple[Row, Row]:
        """The rows of a variant in a slice: of units, and of clusters."""
        units = (row for row in self.moments if (row["variant"], row.get("slice")) == place)
        groups = (row for row in self.clusters if (row["variant"], row.get("slice")) == place)
        return next(units, {}), next(groups, {})


def build_cells(
    request: AggregationRequest, found: Found, slices: Mapping[str | None, str | None] | None = None
) -> tuple[ArmCell, ...]:
    """Cells of metrics by name, then slice, then variant; a variant without units has zeros.

    Args:
        request: what was asked for.
        found: by an engine.
        slices: names by raw text; nothing for all units together.
    """
    places = _places(request, found, slices)
    return tuple(
        ArmCell(
            name=metric.key,
            variant=variant,
            slice=shown,
            **(_over_times if metric.kind == "time_to" else _over_units)(f"y{position}", row),
            **_of_metric(request, metric, position, row),
            **_of_cuts(found.cuts.get(position), (variant, raw)),
            **_grouped(request, f"y{position}", group),
            watch=_watch(request, f"w{position}", row, group) if request.watches(metric) else None,
        )
        for position, metric in enumerate(request.metrics)
        for raw, shown, variant, row, group in places
    )


def build_covariates(request: AggregationRequest, found: Found) -> tuple[ArmCell, ...]:
    """Cells of covariates, in the same order."""
    places = _places(request, found, None)
    return tuple(
        ArmCell(
            name=name,
            variant=variant,
            **_over_units(f"x{position}", row),
            **_grouped(request, f"x{position}", group),
        )
        for position, name in enumerate(request.covariates)
        for _, _, variant, row, group in places
    )


def _places(
    request: AggregationRequest, found: Found, slices: Mapping[str | None, str | None] | None
) -> list[tuple[str | None, str | None, str, Row, Row]]:
    """All slices and variants with their rows: raw text, name, variant, row of units, row of clusters."""
    whole: Mapping[str | None, str | None] = {None: None}
    return [
        (raw, shown, variant, *found.at((variant, raw)))
        for raw, shown in (whole if slices is None else slices).items()
        for variant in request.variants
    ]


def name_slices(texts: Iterable[str | None]) -> dict[str | None, str]:
    """Names of slices for people, by the JSON text of the attribute.

    Units without the attribute form the slice ``(none)``, so that slices add up to the whole. A string that would
    read like another slice keeps its quotes.

    >>> name_slices(['"web"', '3', None])
    {None: '(none)', '"web"': 'web', '3': '3'}
    >>> name_slices(['"3"', '3'])
    {'"3"': '"3"', '3': '3'}
    """
    ordered = sorted(set(texts), key=lambda text: (text is not None, text or ""))
    plain = {text: NO_SLICE if text is None else _decode(text) for text in ordered}
    uses = Counter(plain.values())
    quoted = {text for text in ordered if text is not None and text.startswith('"')}
    return {
        text: text if text in quoted and (uses[name] > 1 or name in quoted) else name for text, name in plain.items()
    }


def _decode(text: str) -> str:
    if text in {REST, SEVERAL}:
        return text
    value = json.loads(text)
    return value if isinstance(value, str) else text


def plain(total: Decimal | float) -> Decimal:
    """An exact sum without zeros behind: 1001 and 350.5 however many places the engine carried."""
    text = f"{total:f}" if isinstance(total, Decimal) else repr(total)
    number = Decimal(text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text)
    return number if number else Decimal(0)


def _over_units(column: str, row: Row) -> dict[str, Any]:
    units = int(row.get(f"{column}_units") or 0)
    total = plain(row.get(f"{column}_total") or 0)
    return {
        "units": units,
        "open_units": int(row.get(f"{column}_missing") or 0),
        "nonzero": int(row.get(f"{column}_nonzero") or 0),
        "total": total,
        "mean": float(total / units) if units else 0.0,
        "m2": float(row[f"{column}_variance"]) * units if units else 0.0,
    }


def _of_metric(request: AggregationRequest, metric: Metric, position: int, row: Row) -> dict[str, Any]:
    """What there is of some metrics only."""
    found: dict[str, Any] = {}
    if request.adjusts(metric):
        mean, m2, product = _beside(f"b{position}", f"y{position}", row)
        found |= {"before_mean": mean, "before_m2": m2, "before_c": product}
    if metric.kind in {"count", "sum"}:
        found["m3"] = _third(f"y{position}", row)
    if metric.cap is not None and metric.cap.value is not None:
        over = _over_units(f"u{position}", row)
        capped = int(row.get(f"u{position}_capped") or 0)
        third, cap = _third(f"u{position}", row), float(metric.cap.value)
        found["uncapped"] = Uncapped(total=over["total"], m2=over["m2"], m3=third, capped=capped, cap=cap)
    if metric.kind == "ratio":
        mean, m2, product = _beside(f"d{position}", f"y{position}", row)
        total = plain(row.get(f"d{position}_total") or 0)
        found["denominator"] = Denominator(total=total, mean=mean, m2=m2, product=product)
    if metric.kind == "funnel":
        steps = range(1, len(metric.steps) + 1)
        found["steps"] = tuple(int(row.get(f"f{position}_{step}") or 0) for step in steps)
    return found


def _watch(request: AggregationRequest, column: str, row: Row, group: Row) -> Watch:
    over = {name: value for name, value in _over_units(column, row).items() if name not in {"open_units", "total"}}
    return Watch(**over, **_grouped(request, column, group))


def _grouped(request: AggregationRequest, column: str, group: Row) -> dict[str, Any]:
    """What there is over clusters, where those were randomised."""
    return _over_clusters(column, group) if request.clustered else {}


def _over_times(column: str, row: Row) -> dict[str, Any]:
    """Of times: all units, and the seconds of those who got there."""
    done = int(row.get(f"{column}_nonzero") or 0)
    total = Decimal(int(row.get(f"{column}_total") or 0)) / MICROSECONDS
    return {
        "units": int(row.get(f"{column}_units") or 0),
        "open_units": int(row.get(f"{column}_missing") or 0),
        "nonzero": done,
        "total": plain(total),
        "mean": float(total / done) if done else 0.0,
        "m2": float(row[f"{column}_variance"]) * done if done else 0.0,
    }


def _of_cuts(cuts: Cuts | None, place: Place) -> dict[str, Any]:
    return {} if cuts is None else {"below": cuts.below.get(place), "lifetimes": cuts.lifetimes.get(place)}


def _beside(column: str, value: str, row: Row) -> tuple[float, float, float]:
    """Mean of a second number of each unit, and sums of squares and products of deviations."""
    units = int(row.get(f"{value}_units") or 0)
    if not units:
        return 0.0, 0.0, 0.0
    mean = float(row[f"{column}_total"] / units)
    return mean, float(row[f"{column}_variance"]) * units, float(row[f"{column}_covariance"]) * units


def _third(column: str, row: Row) -> float:
    """Sum of cubed deviations from the mean."""
    over = _over_units(column, row)
    if not over["units"]:
        return 0.0
    mean = over["mean"]
    return float(row[f"{column}_cubes"]) - 3 * mean * over["m2"] - over["units"] * mean**3


def _over_clusters(column: str, row: Row) -> dict[str, Any]:
    clusters = int(row.get(f"{column}_clusters") or 0)
    if not clusters:
        zeros = ("cluster_mean_y", "cluster_mean_d", "cluster_m2_y", "cluster_m2_d", "cluster_c_yd")
        return {"clusters": 0, **dict.fromkeys(zeros, 0.0), "cluster_nonzero": 0, "cluster_short": 0}
    return {
        "clusters": clusters,
        "cluster_mean_y": float(row[f"{column}_mean_y"]),
        "cluster_mean_d": float(row[f"{column}_mean_d"]),
        "cluster_m2_y": float(row[f"{column}_variance_y"]) * clusters,
        "cluster_m2_d": float(row[f"{column}_variance_d"]) * clusters,
        "cluster_c_yd": float(row[f"{column}_covariance"]) * clusters,
        "cluster_nonzero": int(row[f"{column}_nonzero"]),
        "cluster_short": int(row[f"{column}_short"]),
    }
