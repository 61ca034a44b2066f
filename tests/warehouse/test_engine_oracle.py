"""The engines against plain loops over random histories (`oracle`): counts and sums equal, moments to 1e-12."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.dimension import Dimension
from abplatform.domain.metric import Window
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_metric
from tests.warehouse.histories import History, a_history
from tests.warehouse.oracle import (
    Unit,
    check_before,
    check_cell,
    cluster_of,
    expected_before,
    expected_earlier,
    expected_mismatches,
    expected_undrawn,
    expected_units,
    expected_unknown,
    expected_value,
    whose,
)

CHANNEL = (Dimension(name="channel"),)
METRICS = (
    a_metric("bought", event="purchase", window=None),
    a_metric("bought-soon", event="purchase", window=Window(end=timedelta(days=3))),
    a_metric("revenue", kind="sum", event="purchase", window=None),
    a_metric(
        "late-revenue",
        kind="sum",
        event="purchase",
        window=Window(start=timedelta(days=1), end=timedelta(days=5)),
        cuped_lookback=timedelta(days=5),
    ),
    a_metric("funds", kind="sum", event="deposit", window=None, where={"product": ("fund", 7), "first": True}),
    a_metric("never", event="nothing", window=None),
)
BASE: dict[str, Any] = {
    "project": "default",
    "experiment": "rate-display",
    "phase": 2,
    "variants": ("control", "treatment", "third"),
    "metrics": METRICS,
    "as_of": NOW,
}
REQUESTS = {
    "plain": AggregationRequest(**BASE),
    "bounded": AggregationRequest(**BASE, since=NOW - timedelta(days=12), until=NOW - timedelta(hours=12)),
    "clustered": AggregationRequest(**BASE, clustered=True),
    "sliced": AggregationRequest(**BASE, dimensions=CHANNEL, covariates=("age", "channel", "missing")),
    "clustered-sliced": AggregationRequest(**BASE, clustered=True, dimensions=CHANNEL, covariates=("age",)),
    "first-phase": AggregationRequest(**BASE | {"phase": 1}),
    "closed": AggregationRequest(**BASE, since=NOW - timedelta(days=12), enrolled_until=NOW - timedelta(days=6)),
    "closed-and-stopped": AggregationRequest(
        **BASE, clustered=True, enrolled_until=NOW - timedelta(days=6), until=NOW - timedelta(hours=12)
    ),
    "another-unit-type": AggregationRequest(**BASE, unit_type="device_id", dimensions=CHANNEL),
    "adjusted": AggregationRequest(**BASE, adjusted=("bought", "late-revenue", "funds", "never")),
    "adjusted-sliced": AggregationRequest(
        **BASE,
        adjusted=tuple(metric.key for metric in METRICS),
        since=NOW - timedelta(days=12),
        until=NOW - timedelta(hours=12),
        dimensions=CHANNEL,
        unit_type="device_id",
    ),
    "in-the-past": AggregationRequest(**BASE | {"as_of": NOW - timedelta(days=8)}),
}
SLICES = {'"web"': "web", '"app"': "app", "3": "3", "true": "true", None: "(none)"}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    ("each_engine", "seed"), [("engine", 1), ("engine", 2), ("spark_on_threads", 1)], indirect=["each_engine"]
)
def test_engine_agrees_with_plain_loops(local_lake: Lake, each_engine: Engine, seed: int, name: str) -> None:
    history, request = a_history(seed), REQUESTS[name]
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", history.exposures))
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", history.conversions))

    result = each_engine.aggregate(local_lake, request)

    units = expected_units(history.exposures, request)
    _check_counts(result, units, history, request)
    _check_clusters(result, units, request)
    wanted = [metric.key for metric in request.metrics]
    assert [cell.name for cell in result.cells[:: len(result.cells) // len(wanted)]] == wanted
    assert list(result.slices) == [dimension.name for dimension in request.dimensions]
    for cell in (*result.cells, *result.slices.get("channel", ())):
        metric = next(metric for metric in METRICS if metric.key == cell.name)
        events = {name: [fact for fact in history.conversions if whose(fact, request) == name] for name in units}
        values = {
            name: expected_value(unit, events[name], metric, request) for name, unit in _members(units, cell).items()
        }
        check_cell(cell, values, units, request)
        before = {name: expected_before(units[name], events[name], metric, request) for name in values}
        check_before(cell, values, before, adjusted=metric.key in request.adjusted)
    for cell in result.covariates:
        members = _members(units, cell)
        check_cell(
            cell,
            {name: _number(unit.first.attributes.get(cell.name)) for name, unit in members.items()},
            units,
            request,
        )


def _check_counts(result: Aggregation, units: dict[str, Unit], history: History, request: AggregationRequest) -> None:
    first = {name: unit.first.variant for name, unit in units.items()}
    assert result.exposed == _tally(first.values(), request.variants)
    assert result.analysed == _tally((first[name] for name, unit in units.items() if unit.analysed), request.variants)
    mixed = (first[name] for name, unit in units.items() if len(unit.variants) > 1)
    assert result.multi_variant == _tally(mixed, request.variants)
    assert result.unknown_variants == expected_unknown(history.exposures, request)
    assert result.mismatched_exposures == expected_mismatches(history.exposures, request)
    assert result.earlier_phase_units == expected_earlier(history.exposures, request)
    assert result.undrawn_exposures == expected_undrawn(history.exposures, request)
    assert result.data_through == NOW


def _check_clusters(result: Aggregation, units: dict[str, Unit], request: AggregationRequest) -> None:
    clusters: dict[str, list[Unit]] = {}
    if request.clustered:
        for name, unit in sorted(units.items(), key=lambda item: (item[1].first.timestamp, item[1].first.event_id)):
            clusters.setdefault(cluster_of(name, unit), []).append(unit)
    first = {name: members[0].first.variant for name, members in clusters.items()}
    mixed = {name for name, members in clusters.items() if not members[0].analysed}
    declared = request.variants if request.clustered else ()
    assert result.exposed_clusters == _tally(first.values(), declared)
    assert result.multi_variant_clusters == _tally((first[name] for name in mixed), declared)
    assert result.analysed_clusters == _tally((first[name] for name in clusters if name not in mixed), declared)


def _members(units: dict[str, Unit], cell: ArmCell) -> dict[str, Unit]:
    return {
        name: unit
        for name, unit in units.items()
        if unit.analysed
        and unit.first.variant == cell.variant
        and (cell.slice is None or SLICES[unit.first.attributes.get("channel")] == cell.slice)
    }


def _number(text: str | None) -> Decimal | None:
    return None if text is None or text.startswith(('"', "t", "f")) else Decimal(text)


def _tally(variants: Any, declared: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(variants)
    return {variant: counts[variant] for variant in declared}
