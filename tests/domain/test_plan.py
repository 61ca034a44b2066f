"""What makes an analysis plan one that can be followed."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.domain.checks import Faults
from abplatform.domain.plan import MOST_UNITS, Prior, check_plan
from tests.builders import a_plan
from tests.domain.refusals import faults_of

BAYESIAN = {"method": "bayesian", "loss_threshold": 0.001, "minimum_units": 100}


def faults(**changes: Any) -> dict[str, list[str]]:
    collected = Faults()
    check_plan(a_plan(**changes), collected)
    return faults_of(collected.raise_any)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "fixed"},
        {"method": "group_sequential"},
        {"method": "group_sequential", "spending": "pocock"},
        {"planned_units": 2},
        {"planned_units": 2, "planned_clusters": 2},
        {"planned_units": MOST_UNITS},
        {"alpha": 1e-6, "power": 0.9999},
        BAYESIAN,
        BAYESIAN | {"prior": Prior(scale=100)},
    ],
)
def test_sound_plans_pass(changes: dict[str, Any]) -> None:
    assert faults(**changes) == {}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"spending": "pocock"}, "plan.spending"),
        ({"method": "group_sequential", "spending": "all at once"}, "plan.spending"),
        ({"method": "group_sequential", "minimum_units": 5}, "plan.minimum_units"),
        ({"method": "guess"}, "plan.method"),
        ({"alpha": 0.51}, "plan.alpha"),
        ({"alpha": float("nan")}, "plan.alpha"),
        ({"alpha": True}, "plan.alpha"),
        ({"power": 1}, "plan.power"),
        ({"power": 0}, "plan.power"),
        ({"planned_units": 1}, "plan.planned_units"),
        ({"planned_units": MOST_UNITS + 1}, "plan.planned_units"),
        ({"planned_clusters": 1}, "plan.planned_clusters"),
        ({"planned_units": 99, "planned_clusters": 100}, "plan.planned_clusters"),
        ({"prior": Prior(scale=0.1)}, "plan.prior"),
        ({"loss_threshold": 0.1}, "plan.loss_threshold"),
        ({"method": "fixed", "minimum_units": 5}, "plan.minimum_units"),
        (BAYESIAN | {"loss_threshold": None}, "plan.loss_threshold"),
        (BAYESIAN | {"minimum_units": None}, "plan.minimum_units"),
        (BAYESIAN | {"minimum_units": 1}, "plan.minimum_units"),
        (BAYESIAN | {"loss_threshold": 0}, "plan.loss_threshold"),
        (BAYESIAN | {"prior": Prior(scale=0)}, "plan.prior.scale"),
        (BAYESIAN | {"prior": Prior(scale=float("inf"))}, "plan.prior.scale"),
    ],
)
def test_a_fault_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    assert list(faults(**changes)) == [path]
