"""The benchmark of twenty metrics: that it asks what it says, and that all of it counts something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from abplatform.domain.metric import KINDS, Metric
from abplatform.domain.metric_check import check_metric
from abplatform.warehouse.engines import build_engine
from benchmarks.many_metrics import DIMENSIONS, all_kinds, number_metrics
from benchmarks.results_lake import fill, open_lake, request_for


@pytest.mark.parametrize("metrics", [number_metrics, all_kinds])
def test_there_are_twenty_metrics_that_could_be_saved(metrics: Callable[[], tuple[Metric, ...]]) -> None:
    keys = [metric.key for metric in metrics()]
    assert len(set(keys)) == len(keys) == 20
    for metric in metrics():
        check_metric(metric)


def test_all_kinds_are_there_and_count_something_in_each_dimension(tmp_path: Path) -> None:
    fill(tmp_path, [6000])
    request = replace(request_for(6000), metrics=all_kinds(), adjusted=(), dimensions=DIMENSIONS)
    with closing(open_lake(tmp_path)) as lake:
        answer = build_engine("duckdb://").aggregate(lake, request)
    assert {metric.kind for metric in request.metrics} == set(KINDS)
    assert all(cell.nonzero > 0 for cell in answer.cells)
    slices = {name: {cell.slice for cell in cells} for name, cells in answer.slices.items()}
    assert list(slices) == [dimension.name for dimension in DIMENSIONS]
    assert all(len(names) > 1 for names in slices.values())
