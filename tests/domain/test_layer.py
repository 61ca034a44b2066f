"""Layers: what may be one, and who holds how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.experiment import Experiment, Status
from abplatform.domain.layer import Occupant, check_layer, find_occupants, free_share
from abplatform.errors import InvalidInput
from tests.builders import a_draft, a_layer, an_experiment


@pytest.mark.parametrize(
    "changes",
    [{}, {"unit_type": "device id"}, {"unit_type": "x" * 64}, {"description": ""}, {"description": "说明\n" * 1000}],
)
def test_good_layers_pass(changes: dict[str, Any]) -> None:
    check_layer(a_layer(**changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", ""),
        ("key", "Home"),
        ("key", "a" * 65),
        ("name", ""),
        ("name", "x" * 201),
        ("name", "nul\0"),
        ("unit_type", ""),
        ("unit_type", "x" * 65),
        ("unit_type", "a\nb"),
        ("unit_type", "\ud800"),
        ("description", "x" * 4001),
        ("description", "\ud800"),
    ],
)
def test_a_bad_layer_is_refused_by_field(field: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_layer(a_layer(**{field: value}))
    assert list(refusal.value.errors) == [field]


def in_layer(key: str, status: Status, *slots: tuple[int, int], layer: str | None = "home-page") -> Experiment:
    return a_draft(key, definition=an_experiment(key, layer=layer), status=status, slots=slots)


def test_experiments_hold_slots_while_running_paused_or_closed() -> None:
    occupants = find_occupants(
        "home-page",
        [
            in_layer("a", "running", (0, 250_000), (700_000, 700_001)),
            in_layer("b", "paused", (250_000, 300_000)),
            in_layer("c", "closed", (300_000, 400_000)),
            in_layer("d", "stopped", (400_000, 500_000)),
            in_layer("e", "draft"),
            in_layer("f", "archived", (500_000, 600_000)),
            in_layer("g", "running", (0, 1_000_000), layer="other"),
            in_layer("h", "running", (0, 1_000_000), layer=None),
        ],
    )
    assert occupants == (
        Occupant(experiment="a", status="running", slots=250_001),
        Occupant(experiment="b", status="paused", slots=50_000),
        Occupant(experiment="c", status="closed", slots=100_000),
        Occupant(experiment="d", status="stopped", slots=0),
        Occupant(experiment="e", status="draft", slots=0),
    )
    assert [occupant.share for occupant in occupants] == [0.250001, 0.05, 0.1, 0.0, 0.0]
    assert free_share(occupants) == 0.599999, "1,000,000 - 400,001 slots"


def test_an_empty_layer_is_free_and_a_full_one_is_not() -> None:
    assert free_share(()) == 1.0
    assert free_share([Occupant(experiment="a", status="running", slots=1_000_000)]) == 0.0
