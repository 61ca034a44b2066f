"""Aggregation once more, by plain loops over facts: what every engine must agree with.

Written from the docstrings of `abplatform.domain.aggregates`, sharing nothing with the queries but the facts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any

import pytest

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.metric import Metric


@dataclass
class Unit:
    """A unit's first exposure, and which variants it met."""

    first: ExposureFact
    variants: set[str]
    analysed: bool = True


def expected_units(exposures: Sequence[ExposureFact], request: AggregationRequest) -> dict[str, Unit]:
    """Units of the experiment, by pseudonym, the excluded ones included and marked."""
    met_here = _met(exposures, request)
    units = {name: unit for name, unit in met_here.items() if not _had(name, met_here, exposures, request)}
    for unit in units.values():
        unit.analysed = len(unit.variants) == 1
    if request.clustered:
        met: dict[str, set[str]] = defaultdict(set)
        for name, unit in units.items():
            met[cluster_of(name, unit)] |= unit.variants
        for name, unit in units.items():
            unit.analysed = len(met[cluster_of(name, unit)]) == 1
    return units


def expected_earlier(exposures: Sequence[ExposureFact], request: AggregationRequest) -> int | None:
    """Units that are left out, since an earlier phase had them or their cluster."""
    if request.phase == 1:
        return None
    return len(_met(exposures, request)) - len(expected_units(exposures, request))


def cluster_of(name: str, unit: Unit) -> str:
    """The cluster in which a unit was when it was first exposed."""
    return unit.first.cluster or name


def expected_unknown(exposures: Sequence[ExposureFact], request: AggregationRequest) -> dict[str, int]:
    """Exposures by undeclared variants."""
    unknown: dict[str, int] = defaultdict(int)
    for fact in _counted(exposures, request):
        if fact.variant not in request.variants:
            unknown[fact.variant] += 1
    return dict(unknown)


def expected_mismatches(exposures: Sequence[ExposureFact], request: AggregationRequest) -> int:
    """Exposures by a declared variant that is not the one which this platform draws."""
    return sum(fact.expected_variant not in {None, fact.variant} for fact in _of_units(exposures, request))


def expected_undrawn(exposures: Sequence[ExposureFact], request: AggregationRequest) -> int:
    """Exposures by a declared variant of units that this platform gives none."""
    return sum(fact.expected_variant == "" for fact in _of_units(exposures, request))


def whose(fact: ConversionFact, request: AggregationRequest) -> str:
    """The unit that a conversion belongs to."""
    if request.unit_type is not None and request.unit_type in fact.units:
        return fact.units[request.unit_type]
    return fact.unit


def expected_value(
    unit: Unit, events: Sequence[ConversionFact], metric: Metric, request: AggregationRequest
) -> Decimal | None:
    """A unit's value of a metric; None while its window is open."""
    first = unit.first.timestamp
    cutoff = min(request.as_of, request.until) if request.until else request.as_of
    if metric.window is not None and first + metric.window.end > cutoff:
        return None
    counted = [event for event in events if _counts(event, first, metric, request)]
    if metric.kind == "conversion":
        return Decimal(bool(counted))
    return sum((event.value or Decimal(0) for event in counted), Decimal(0))


def expected_before(
    unit: Unit, events: Sequence[ConversionFact], metric: Metric, request: AggregationRequest
) -> Decimal | None:
    """A unit's value of a metric in its look-back before the first exposure; None while the metric's window is open."""
    if expected_value(unit, events, metric, request) is None:
        return None
    first = unit.first.timestamp
    counted = [
        event
        for event in events
        if event.event == metric.event
        and _fits(event, metric)
        and first - metric.cuped_lookback <= event.timestamp < first
    ]
    if metric.kind == "conversion":
        return Decimal(bool(counted))
    return sum((event.value or Decimal(0) for event in counted), Decimal(0))


def _counts(event: ConversionFact, first: datetime, metric: Metric, request: AggregationRequest) -> bool:
    delay = event.timestamp - first
    inside = delay.total_seconds() >= 0
    if metric.window is not None:
        inside = metric.window.start <= delay < metric.window.end
    stopped = request.until is not None and event.timestamp >= request.until
    return event.event == metric.event and inside and not stopped and _fits(event, metric)


def _fits(event: ConversionFact, metric: Metric) -> bool:
    for name, wanted in metric.where.items():
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        text = event.properties.get(name)
        if text is None:
            return False
        value = json.loads(text)
        if not any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in options):
            return False
    return True


def _met(exposures: Sequence[ExposureFact], request: AggregationRequest) -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for fact in sorted(_counted(exposures, request), key=lambda fact: (fact.timestamp, fact.event_id)):
        if fact.variant in request.variants:
            units.setdefault(fact.unit, Unit(fact, set())).variants.add(fact.variant)
    return units


def _of_units(exposures: Sequence[ExposureFact], request: AggregationRequest) -> list[ExposureFact]:
    units = expected_units(exposures, request)
    return [fact for fact in _counted(exposures, request) if fact.variant in request.variants and fact.unit in units]


def _had(name: str, units: dict[str, Unit], exposures: Sequence[ExposureFact], request: AggregationRequest) -> bool:
    """Whether an earlier phase had the unit before this phase did, or the cluster before this phase had any of it."""
    before = [each for each in exposures if each.experiment == request.experiment and each.phase < request.phase]
    first = units[name].first
    if any(each.unit == name and each.timestamp <= first.timestamp for each in before):
        return True
    if not request.clustered or first.cluster is None:
        return False
    began = min(unit.first.timestamp for unit in units.values() if unit.first.cluster == first.cluster)
    return any(each.cluster == first.cluster and each.timestamp <= began for each in before)


def _counted(exposures: Sequence[ExposureFact], request: AggregationRequest) -> list[ExposureFact]:
    return [
        fact
        for fact in exposures
        if fact.experiment == request.experiment
        and fact.phase == request.phase
        and (request.since is None or fact.timestamp >= request.since)
        and (request.enrolled_until is None or fact.timestamp < request.enrolled_until)
        and (request.until is None or fact.timestamp < request.until)
    ]


def centred(xs: Sequence[Decimal | int], ys: Sequence[Decimal | int]) -> float:
    """Sum of products of deviations from the means, in exact fractions."""
    left, right = [Fraction(x) for x in xs], [Fraction(y) for y in ys]
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    return float(sum((x - mean_left) * (y - mean_right) for x, y in zip(left, right, strict=True)))


def check_cell(
    cell: ArmCell,
    values: dict[str, Decimal | None],
    units: dict[str, Unit],
    request: AggregationRequest,
    *,
    close: float = 1e-9,
) -> None:
    """A cell against the values of its units (None while open): counts and sums equal, moments within 1e-12.

    Args:
        cell: of an engine.
        values: by unit.
        units: all.
        request: what was asked.
        close: how far moments may be away, where that is more than 1e-12 of them.
    """
    known = {name: value for name, value in values.items() if value is not None}
    numbers = list(known.values())
    assert (cell.units, cell.open_units) == (len(known), len(values) - len(known))
    assert cell.nonzero == sum(number != 0 for number in numbers)
    assert cell.total == sum(numbers, Decimal(0))
    assert cell.mean == pytest.approx(
        float(sum(numbers) / len(numbers)) if numbers else 0.0, rel=1e-12, abs=close * 1e-3
    )
    assert cell.m2 == pytest.approx(centred(numbers, numbers) if numbers else 0.0, rel=1e-12, abs=close)
    if not request.clustered:
        assert (cell.clusters, cell.cluster_m2_y, cell.cluster_c_yd) == (None, None, None)
        return
    sums: dict[str, Decimal] = {}
    for name, number in known.items():
        cluster = cluster_of(name, units[name])
        sums[cluster] = sums.get(cluster, Decimal(0)) + number
    sizes = Counter(cluster_of(name, units[name]) for name in known)
    _check_cluster_moments(cell, list(sums.values()), [sizes[cluster] for cluster in sums], close)


def check_before(
    cell: ArmCell,
    values: dict[str, Decimal | None],
    before: dict[str, Decimal | None],
    *,
    adjusted: bool,
    close: float = 1e-9,
) -> None:
    """What a cell says about values before the exposure, against those of its units."""
    if not adjusted:
        assert (cell.before_mean, cell.before_m2, cell.before_c) == (None, None, None)
        return
    after = [value for value in values.values() if value is not None]
    earlier = [value for value in before.values() if value is not None]
    if not after:
        assert (cell.before_mean, cell.before_m2, cell.before_c) == (0.0, 0.0, 0.0)
        return
    assert cell.before_mean == pytest.approx(float(sum(earlier) / len(earlier)), rel=1e-12, abs=close * 1e-3)
    assert cell.before_m2 == pytest.approx(centred(earlier, earlier), rel=1e-12, abs=close)
    scale = (centred(after, after) * centred(earlier, earlier)) ** 0.5
    assert cell.before_c == pytest.approx(centred(earlier, after), rel=1e-12, abs=1e-12 * scale + close)


def _check_cluster_moments(cell: ArmCell, sums: list[Decimal], sizes: list[int], close: float) -> None:
    assert cell.clusters == len(sums)
    assert cell.cluster_nonzero == sum(each != 0 for each in sums)
    assert cell.cluster_short == sum(each != size for each, size in zip(sums, sizes, strict=True))
    if not sums:
        return
    assert cell.cluster_mean_y == pytest.approx(float(sum(sums) / len(sums)), rel=1e-12, abs=close * 1e-3)
    assert cell.cluster_mean_d == pytest.approx(sum(sizes) / len(sizes), rel=1e-12)
    assert cell.cluster_m2_y == pytest.approx(centred(sums, sums), rel=1e-12, abs=close)
    assert cell.cluster_m2_d == pytest.approx(centred(sizes, sizes), rel=1e-12, abs=close)
    # A covariance near zero is a difference of large numbers: measured against what it is made of.
    scale = (centred(sums, sums) * centred(sizes, sizes)) ** 0.5
    assert cell.cluster_c_yd == pytest.approx(centred(sums, sizes), rel=1e-12, abs=1e-12 * scale + close)


def check_equal(found: Aggregation, wanted: Aggregation) -> None:
    """Counts, sums and names equal, moments within 1e-12."""
    assert replace(found, cells=(), covariates=(), slices={}) == replace(wanted, cells=(), covariates=(), slices={})
    assert list(found.slices) == list(wanted.slices)
    for mine, other in zip(_all_cells(found), _all_cells(wanted), strict=True):
        check_fields(mine, other, _scales(other), other.name)


def _all_cells(aggregation: Aggregation) -> list[ArmCell]:
    return [*aggregation.cells, *aggregation.covariates, *chain.from_iterable(aggregation.slices.values())]


def check_fields(mine: Any, other: Any, scales: Mapping[str, float], name: str) -> None:
    """Fields of a cell, or of a part of it: numbers of floating point within 1e-12 of their scales."""
    for field in fields(other):
        value, expected = getattr(mine, field.name), getattr(other, field.name)
        if is_dataclass(expected):
            check_fields(value, expected, scales, name)
            continue
        if isinstance(expected, float):
            expected = pytest.approx(expected, rel=1e-12, abs=1e-12 * scales.get(field.name, 0))
        assert value == expected, (name, field.name)


def _scales(cell: ArmCell) -> Mapping[str, float]:
    """What a covariance or a third moment near zero is made of: it is a difference of large numbers.

    Of a second moment how far one rounding of the mean moves it (1e-12 / 4096 is that of a double): engines add rows up
    in any order, and where values are 10^12 times further from 0 than from each other, that is what is left of them.
    """
    below, raw = cell.denominator, cell.uncapped
    mean, m2 = (float(raw.total) / max(cell.units, 1), raw.m2) if raw is not None else (cell.mean, cell.m2)
    return {
        "m2": abs(mean) * (cell.units * m2) ** 0.5 / 4096,
        "cluster_c_yd": ((cell.cluster_m2_y or 0) * (cell.cluster_m2_d or 0)) ** 0.5,
        "before_c": (cell.m2 * (cell.before_m2 or 0)) ** 0.5,
        "product": (cell.m2 * (below.m2 if below is not None else 0)) ** 0.5,
        "m3": cell.units * abs(mean) ** 3 + m2**1.5,
    }
