"""What units were worth before an experiment: a cap that is fixed before anybody is exposed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import ibis

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric
from abplatform.warehouse.cells import plain
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.queries import COLUMNS_OF_CONVERSIONS
from abplatform.warehouse.times import moment
from abplatform.warehouse.unit_values import MONEY, reduced
from abplatform.warehouse.wanted import find_reading, wanted_conversions
from abplatform.warehouse.workspace import OpenWorkspace

NO_WINDOW = timedelta(days=30)
"""What is looked at for a metric without a window."""


def quantile_before(
    lake: Lake, request: AggregationRequest, open_workspace: OpenWorkspace, *, quantile: float
) -> Decimal | None:
    """A quantile of what units were worth just before a time, of those who were worth something.

    What lies between is not invented: it is the least value that so large a share of them does not exceed.

    Args:
        lake: holds the events.
        request: names the project, one metric, the state and, as ``as_of``, the time; the metric is looked at over as
            many days as its window is long.
        open_workspace: where the engine computes.
        quantile: between 0 and 1.

    Returns:
        None where nobody was worth anything.

    Raises:
        SnapshotExpired, Unavailable: see `reduction.reduce_events`.
    """
    (metric,) = request.metrics
    since = request.as_of - _length(metric)
    request = replace(request, since=since, until=request.as_of, adjusted=())
    with open_workspace() as workspace:
        paths = [file.path for file in lake.files_of(request.project, "conversion", request.state)]
        wanted = wanted_conversions(workspace.read(paths, COLUMNS_OF_CONVERSIONS), request)
        reading = find_reading(request)
        counted = wanted.filter(wanted[reading.match(metric.measure)], wanted.timestamp >= moment(since))
        units = counted.group_by("unit").aggregate(value=reduced(counted, metric.measure, reading))
        values = workspace.keep("values", units.filter(units.value != 0).select(value=units.value.cast(MONEY)))
        count = int(workspace.rows(values.aggregate(units=values.count()))[0]["units"])
        if not count:
            return None
        rank = max(math.ceil(quantile * count) - 1, 0)
        ranked = values.select("value", rank=ibis.row_number().over(ibis.window(order_by=values.value)))
        return plain(workspace.rows(ranked.filter(ranked["rank"] == rank).select("value"))[0]["value"])


def _length(metric: Metric) -> timedelta:
    return NO_WINDOW if metric.window is None else metric.window.end - metric.window.start
