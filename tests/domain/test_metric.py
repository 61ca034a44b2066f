"""What makes a metric one that can be computed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from abplatform.domain.metric import Metric, Window
from abplatform.domain.metric_check import check_metric
from abplatform.errors import InvalidInput
from tests.builders import a_metric


@pytest.mark.parametrize(
    "metric",
    [
        a_metric(),
        a_metric(kind="sum", direction="decrease", window=None),
        a_metric(where={"product": "term-deposit", "channel": ("web", "app"), "n": 3, "new": True, "rate": 3.5}),
        a_metric(where={"用途": "买房"}, event="开户"),
        a_metric(window=Window(start=timedelta(days=1), end=timedelta(days=3650))),
        a_metric(cuped_lookback=timedelta(days=3650)),
    ],
)
def test_sound_metrics_pass(metric: Metric) -> None:
    check_metric(metric)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"key": "-a"}, "key"),
        ({"name": ""}, "name"),
        ({"event": ""}, "event"),
        ({"event": "x" * 129}, "event"),
        ({"event": "nul\0"}, "event"),
        ({"kind": "average"}, "kind"),
        ({"direction": "up"}, "direction"),
        ({"where": {"": 1}}, "where"),
        ({"where": {"a": ()}}, "where.a"),
        ({"where": {"a": {"$type": "nubmer"}}}, "where.a.$type"),
        ({"where": {"a": float("nan")}}, "where.a"),
        ({"where": {"a": "lone \ud800"}}, "where.a"),
        ({"where": {"a": tuple(range(101))}}, "where.a"),
        ({"where": {str(number): 1 for number in range(21)}}, "where"),
        ({"cuped_lookback": timedelta(0)}, "cuped_lookback"),
        ({"cuped_lookback": timedelta(days=-1)}, "cuped_lookback"),
        ({"cuped_lookback": timedelta(days=3650, microseconds=1)}, "cuped_lookback"),
        ({"window": Window(end=timedelta(0))}, "window.end"),
        ({"window": Window(start=timedelta(days=2), end=timedelta(days=1))}, "window.end"),
        ({"window": Window(end=timedelta(days=3651))}, "window.end"),
        ({"window": Window(start=timedelta(days=-1), end=timedelta(days=1))}, "window.start"),
    ],
)
def test_a_fault_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_metric(a_metric(**changes))
    assert list(refusal.value.errors) == [path]


def test_a_metric_without_an_event_is_told_that_it_needs_one() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_metric(a_metric(event=""))
    assert refusal.value.errors == {"event": ["is required: the name of the events that count"]}
