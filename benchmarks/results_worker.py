"""Answers one way of computing results, in a process of its own: ``python -m benchmarks.results_worker FOLDER WAY``.

Reads a line with a number of events, one of days, and perhaps what to go on from; computes the results of the
experiment that has so many events, after so many days; prints seconds, largest resident size and the numbers.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.storage.documents import from_text
from abplatform.warehouse.engines import build_engine
from abplatform.warehouse.lake import Lake
from benchmarks.hand_sql import count_by_hand
from benchmarks.processes import peak_megabytes
from benchmarks.results_lake import open_lake, request_for

MEMORY_LIMIT = "2GB"
ENGINES = {"engine": "duckdb://", "spark": "spark://local[2]"}

Numbers = dict[str, list[Any]]
Way = Callable[[Lake, AggregationRequest, KeptUnits | None], Numbers]


def open_way(name: str) -> Way:
    """The engine of this platform, on Spark, or SQL by hand."""
    if name == "hand":
        return _by_hand
    engine = build_engine(ENGINES[name], memory_limit=MEMORY_LIMIT)
    return lambda lake, request, kept: flatten(engine.aggregate(lake, request, kept))


def flatten(aggregation: Aggregation) -> Numbers:
    """The numbers of an aggregation, exact ones as text, by variant or variant and metric."""
    numbers: Numbers = {
        variant: [aggregation.exposed[variant], aggregation.analysed[variant]] for variant in aggregation.exposed
    }
    for cell in aggregation.cells:
        before = _before(cell.m2, cell.before_mean or 0.0, cell.before_m2 or 0.0, cell.before_c or 0.0)
        numbers[f"{cell.variant} {cell.name}"] = [cell.units, _text(cell.total), cell.m2, *before]
    numbers["mismatched"] = [aggregation.mismatched_exposures]
    return numbers


def _by_hand(lake: Lake, request: AggregationRequest, _: KeptUnits | None) -> Numbers:
    found = count_by_hand(lake, request, memory_limit=MEMORY_LIMIT)
    numbers: Numbers = {variant: [row["exposed"], row["analysed"]] for variant, row in found.items()}
    for position, metric in enumerate(request.metrics):
        for variant, row in found.items():
            units, total, variance = (row[f"y{position}_{name}"] for name in ("units", "total", "variance"))
            past, *products = (float(row[f"x{position}_{name}"]) for name in ("total", "variance", "covariance"))
            before = _before(variance * units, past / units, *(product * units for product in products))
            numbers[f"{variant} {metric.key}"] = [units, _text(total), variance * units, *before]
    numbers["mismatched"] = [sum(int(row["mismatched"]) for row in found.values())]
    return numbers


def _before(m2: float, mean: float, before_m2: float, product: float) -> list[float]:
    """Moments before the exposure; of the product the correlation, and one more, since it may be nearly 0 itself."""
    spread = math.sqrt(m2 * before_m2)
    return [mean, before_m2, 1 + product / spread if spread else 1.0]


def _text(total: Any) -> str:
    return f"{total:.6f}"


def main(folder: str, name: str) -> None:
    """Answer until there are no more questions."""
    way, lake = open_way(name), open_lake(Path(folder))
    print("{}", flush=True)
    for line in sys.stdin:
        events, days, *rest = line.split(" ", 2)
        request = request_for(int(events), int(days))
        kept = from_text(rest[0], KeptUnits) if rest else None
        start, cpu = time.perf_counter(), time.process_time()
        numbers = way(lake, request, kept)
        answer = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "numbers": numbers}
        answer["megabytes"] = peak_megabytes(os.getpid())
        print(json.dumps(answer), flush=True)
    lake.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
