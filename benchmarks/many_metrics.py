"""What twenty metrics by three dimensions cost beside one metric: ``python -m benchmarks.many_metrics [EVENTS]``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import Dimension
from abplatform.domain.metric import Cap, Measure, Metric, Step, Window
from abplatform.warehouse.engines import Engine, build_engine
from abplatform.warehouse.lake import Lake
from benchmarks.processes import tidy_up_when_told_to_end
from benchmarks.results_lake import EVENT, fill, open_lake, request_for
from benchmarks.timing import Result

EVENTS = 10_000_000
MOST = 3.0
DIMENSIONS = (
    Dimension(name="channel"),
    Dimension(name="exposure_day", period="day"),
    Dimension(name="exposure_week", period="week"),
)
_DEPOSITS, _FUNDS = {"product": "deposit"}, {"product": "fund"}
_NEXT_DAY = Window(start=timedelta(days=1), end=timedelta(days=2), calendar=True)
_CAP = Cap(value=Decimal(5000))


def run(events: int = EVENTS) -> Iterator[Result]:
    """Fill a lake, and let twenty metrics and each of them alone take turns."""
    with tempfile.TemporaryDirectory(prefix="abplatform-bench-") as name:
        folder = Path(name)
        fill(folder, [events])
        request = replace(request_for(events), adjusted=())
        with closing(open_lake(folder)) as lake:
            for what, metrics in {"numbers per unit": number_metrics(), "all eight kinds": all_kinds()}.items():
                yield _compare(lake, replace(request, metrics=metrics), what, events)


def number_metrics() -> tuple[Metric, ...]:
    """Rates, counts, sums, ratios and retention, most within a week of the exposure."""
    kinds: dict[str, dict[str, Any]] = {
        "bought": {"kind": "conversion"},
        "bought-deposit": {"kind": "conversion", "where": _DEPOSITS},
        "bought-fund": {"kind": "conversion", "where": _FUNDS},
        "bought-at-once": {"kind": "conversion", "window": Window(end=timedelta(hours=1))},
        "bought-in-three-days": {"kind": "conversion", "window": Window(end=timedelta(days=3))},
        "orders": {"kind": "count"},
        "deposit-orders": {"kind": "count", "where": _DEPOSITS},
        "fund-orders": {"kind": "count", "where": _FUNDS},
        "orders-capped": {"kind": "count", "cap": _CAP},
        "orders-of-a-day": {"kind": "count", "window": Window(end=timedelta(days=1))},
        "spent": {"kind": "sum"},
        "spent-on-deposits": {"kind": "sum", "where": _DEPOSITS},
        "spent-on-funds": {"kind": "sum", "where": _FUNDS},
        "spent-capped": {"kind": "sum", "cap": _CAP},
        "spent-in-a-day": {"kind": "sum", "window": Window(end=timedelta(days=1))},
        "largest-order": {"kind": "sum", "aggregation": "max"},
        "order-value": {"kind": "ratio", "denominator": Measure(event=EVENT)},
        "share-of-deposits": {"kind": "ratio", "where": _DEPOSITS, "denominator": Measure(event=EVENT)},
        "next-day": {"kind": "retention", "window": _NEXT_DAY},
        "day-six": {"kind": "retention", "window": Window(start=timedelta(days=6), end=timedelta(days=7))},
    }
    return _metrics(kinds)


def all_kinds() -> tuple[Metric, ...]:
    """Sixteen of those, a level, a quantile, a time and a funnel: what asks for the order of events or values."""
    kinds: dict[str, dict[str, Any]] = {
        "last-order": {"kind": "sum", "aggregation": "last"},
        "median-spent": {"kind": "quantile"},
        "time-to-order": {"kind": "time_to"},
        "twice": {"kind": "funnel", "event": "", "steps": (Step(event=EVENT), Step(event=EVENT))},
    }
    left_out = {"bought-in-three-days", "fund-orders", "orders-of-a-day", "spent-in-a-day"}
    return tuple(metric for metric in number_metrics() if metric.key not in left_out) + _metrics(kinds)


def _metrics(kinds: Mapping[str, dict[str, Any]]) -> tuple[Metric, ...]:
    common: dict[str, Any] = {"event": EVENT, "window": Window(end=timedelta(days=7))}
    return tuple(Metric(key=key, name=key, **common | fields) for key, fields in kinds.items())


def _compare(lake: Lake, request: AggregationRequest, what: str, events: int) -> Result:
    engine = build_engine("duckdb://")
    alone, together = [], []
    asked = replace(request, dimensions=DIMENSIONS)
    _time(engine, lake, asked)  # warms up
    # One of the others after each of the twenty: what the machine does meanwhile meets both.
    for position, metric in enumerate(request.metrics):
        alone.append(_time(engine, lake, replace(request, metrics=(metric,))))
        if position % 4 == 0:
            together.append(_time(engine, lake, asked))
    one, twenty = statistics.median(alone), statistics.median(together)
    figure = f"{twenty / one:.2f}x ({twenty:.2f} against {one:.2f} s, the median of the twenty alone)"
    name = (
        f"{len(request.metrics)} metrics ({what}) by {len(DIMENSIONS)} dimensions over {events:,} events, against one"
    )
    return Result(name, figure, f"at most {MOST:g}x", met=twenty <= MOST * one)


def _time(engine: Engine, lake: Lake, request: AggregationRequest) -> float:
    start = time.perf_counter()
    engine.aggregate(lake, request)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the figure."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_metrics", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=EVENTS)
    for result in run(parser.parse_args().events):
        print(f"{'ok  ' if result.met else 'MISS'}  {result.name}: {result.figure}; goal: {result.goal}", flush=True)


if __name__ == "__main__":
    main()
