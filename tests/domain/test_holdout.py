"""Holdouts: what may be one, whom it holds out, and of what."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.holdout import check_holdout
from abplatform.errors import InvalidInput
from tests.builders import a_holdout, a_layer

LAYERS = {
    "home-page": a_layer(),
    "devices": a_layer("devices", unit_type="device_id"),
    **{f"l-{number}": a_layer(f"l-{number}") for number in range(101)},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"share": 0.0001},
        {"share": 0.5},
        {"layers": ("home-page", "l-1")},
        {"layers": tuple(f"l-{number}" for number in range(100))},
        {"layers": ("devices",), "unit_type": "device_id"},
        {"unit_type": "device_id"},
    ],
)
def test_good_holdouts_pass(changes: dict[str, Any]) -> None:
    check_holdout(a_holdout(**changes), layers=LAYERS)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"key": "Q3"}, "key"),
        ({"name": ""}, "name"),
        ({"unit_type": ""}, "unit_type"),
        ({"share": 0.00009}, "share"),
        ({"share": 0.500001}, "share"),
        ({"share": -0.1}, "share"),
        ({"share": float("nan")}, "share"),
        ({"share": True}, "share"),
        ({"share": 10**400}, "share"),
        ({"layers": ()}, "layers"),
        ({"layers": tuple(f"l-{number}" for number in range(101))}, "layers"),
        ({"layers": ("home-page", "nothing")}, "layers.1"),
        ({"layers": ("home-page", "devices")}, "layers.1"),
        ({"layers": ("nul\0",)}, "layers.0"),
    ],
)
def test_a_bad_holdout_is_refused_by_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_holdout(a_holdout(**changes), layers=LAYERS)
    assert list(refusal.value.errors) == [path]


def test_a_layer_that_is_named_twice_is_refused_at_both_places() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_holdout(a_holdout(layers=("home-page", "home-page")), layers=LAYERS)
    assert list(refusal.value.errors) == ["layers.0", "layers.1"]


@pytest.mark.parametrize(("share", "buckets"), [(0.0001, (0, 100)), (0.05, (0, 50_000)), (0.5, (0, 500_000))])
def test_a_share_is_that_many_millionths(share: float, buckets: tuple[int, int]) -> None:
    assert a_holdout(share=share).buckets == buckets


def test_a_global_holdout_covers_all_experiments_of_its_unit_type() -> None:
    holdout = a_holdout()
    assert holdout.covers("user_id", None)
    assert holdout.covers("user_id", "home-page")
    assert not holdout.covers("device_id", None)


def test_a_holdout_of_layers_covers_the_experiments_in_them() -> None:
    holdout = a_holdout(layers=("home-page",))
    assert holdout.covers("user_id", "home-page")
    assert not holdout.covers("user_id", "other")
    assert not holdout.covers("user_id", None)
    assert not holdout.covers("device_id", "home-page")
