"""What twenty metrics in three dimensions cost beside one metric: ``python -m benchmarks.many_metrics [EVENTS]``."""

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
from abplatform.warehouse.engines import build_engine
from benchmarks.processes import tidy_up_when_told_to_end
from benchmarks.results_lake import EVENT, fill, open_lake, request_for
from benchmarks.timing import Result

EVENTS = 10_000_000
ROUNDS = 5
MOST = 3.0
DIMENSIONS = (
    Dimension(name="channel"),
    Dimension(name="exposure_day", period="day"),
    Dimension(name="exposure_week", period="week"),
)
_DEPOSITS, _FUNDS = {"product": "deposit"}, {"product": "fund"}
_CAP = Cap(value=Decimal(5000))


def run(events: int = EVENTS) -> Iterator[Result]:
    """Fill a lake, and let one metric and twenty take turns."""
    with tempfile.TemporaryDirectory(prefix="abplatform-bench-") as name:
        folder = Path(name)
        fill(folder, [events])
        yield _compare(folder, request_for(events), events)


def twenty_metrics() -> tuple[Metric, ...]:
    """Of all eight kinds, within a week of the exposure."""
    kinds: Mapping[str, Mapping[str, Any]] = {
        "bought": {"kind": "conversion"},
        "bought-deposit": {"kind": "conversion", "where": _DEPOSITS},
        "bought-fund": {"kind": "conversion", "where": _FUNDS},
        "bought-at-once": {"kind": "conversion", "window": Window(end=timedelta(hours=1))},
        "orders": {"kind": "count"},
        "deposit-orders": {"kind": "count", "where": _DEPOSITS},
        "orders-capped": {"kind": "count", "cap": _CAP},
        "spent": {"kind": "sum"},
        "spent-on-deposits": {"kind": "sum", "where": _DEPOSITS},
        "spent-on-funds": {"kind": "sum", "where": _FUNDS},
        "spent-capped": {"kind": "sum", "cap": _CAP},
        "largest-order": {"kind": "sum", "aggregation": "max"},
        "last-order": {"kind": "sum", "aggregation": "last"},
        "order-value": {"kind": "ratio", "denominator": Measure(event=EVENT)},
        "share-of-deposits": {"kind": "ratio", "where": _DEPOSITS, "denominator": Measure(event=EVENT)},
        "next-day": {
            "kind": "retention",
            "window": Window(start=timedelta(days=1), end=timedelta(days=2), calendar=True),
        },
        "day-six": {"kind": "retention", "window": Window(start=timedelta(days=6), end=timedelta(days=7))},
        "median-spent": {"kind": "quantile"},
        "time-to-order": {"kind": "time_to"},
        "twice": {"kind": "funnel", "event": "", "steps": (Step(event=EVENT), Step(event=EVENT))},
    }
    common: Mapping[str, Any] = {"event": EVENT, "window": Window(end=timedelta(days=7))}
    return tuple(Metric(key=key, name=key, **{**common, **fields}) for key, fields in kinds.items())


def _compare(folder: Path, request: AggregationRequest, events: int) -> Result:
    metrics = twenty_metrics()
    asked = {
        "one": replace(request, metrics=metrics[:1], adjusted=()),
        "twenty": replace(request, metrics=metrics, adjusted=(), dimensions=DIMENSIONS),
    }
    engine, took = build_engine("duckdb://"), dict[str, list[float]]((way, []) for way in asked)
    with closing(open_lake(folder)) as lake:
        for _ in range(ROUNDS + 1):
            for way, each in asked.items():
                start = time.perf_counter()
                engine.aggregate(lake, each)
                took[way].append(time.perf_counter() - start)
    # The first round warms up.
    one, twenty = (statistics.median(seconds[1:]) for seconds in took.values())
    figure = f"{twenty / one:.2f}x ({twenty:.2f} against {one:.2f} s)"
    name = f"twenty metrics of all kinds by three dimensions over {events:,} events, against one metric"
    return Result(name, figure, f"at most {MOST:g}x", met=twenty <= MOST * one)


def main() -> None:
    """Measure, and print the figure."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_metrics", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=EVENTS)
    for result in run(parser.parse_args().events):
        print(f"{'ok  ' if result.met else 'MISS'}  {result.name}: {result.figure}; goal: {result.goal}", flush=True)


if __name__ == "__main__":
    main()
