"""Definitions that Python calls equal, and that events tell apart."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from abplatform.domain.experiment import changed_fields
from abplatform.domain.metric import Cap
from abplatform.domain.sameness import say_the_same
from tests.builders import a_metric, an_experiment


@pytest.mark.parametrize(("one", "other"), [(True, 1), (False, 0), (0.0, False), ([1, [True]], [1, [1]])])
def test_truth_values_are_no_numbers(one: Any, other: Any) -> None:
    metrics = [a_metric(where={"vip": value}) for value in (one, other)]
    assert metrics[0] == metrics[1]
    assert not say_the_same(*metrics)
    assert say_the_same(metrics[0], replace(metrics[0]))


@pytest.mark.parametrize(("one", "other"), [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": 1.0})])
def test_order_and_the_way_that_a_number_is_written_say_nothing(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert say_the_same(a_metric(where=one), a_metric(where=other))
    caps = [Cap(value=Decimal(text)) for text in ("5", "5.0")]
    assert say_the_same(*(a_metric(kind="count", cap=cap) for cap in caps))


def test_a_payload_with_a_truth_value_in_place_of_a_number_is_a_change() -> None:
    definition = an_experiment()
    first, second = definition.variants

    def with_payload(value: Any) -> Any:
        return replace(definition, variants=(first, replace(second, payload={"on": value})))

    assert changed_fields(with_payload(1), with_payload(True)) == ("variants",)
    assert changed_fields(with_payload(1), with_payload(1.0)) == ()
