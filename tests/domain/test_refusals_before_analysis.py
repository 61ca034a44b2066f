"""What analysis could not compute is refused when it is saved, not when somebody reads results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abplatform.domain.definition_check import Catalogue, check_definition
from abplatform.domain.experiment import Amount, ExperimentDefinition
from abplatform.errors import InvalidInput
from tests.builders import a_metric, a_metric_use, a_plan, an_experiment, an_external_experiment

METRICS = (
    a_metric(),
    a_metric("complaint"),
    a_metric("days-to-open", kind="time_to"),
    a_metric("ever-open", kind="time_to", window=None),
    a_metric("order-size", kind="quantile", over="events"),
    a_metric("spend", kind="sum"),
)
CATALOGUE = Catalogue(unit_type="user_id", metrics={metric.key: metric for metric in METRICS})
FIXED = a_plan(method="fixed")
VILLAGES: dict[str, Any] = {"unit_type": "village", "analysis_unit": "household"}
GUARDRAIL = a_metric_use("complaint", role="guardrail", mde=None, non_inferiority_margin=Amount(absolute=0.001))


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        (an_experiment(plan=a_plan(alpha=0.5)), "plan.alpha"),
        (an_external_experiment(**VILLAGES), "plan.planned_clusters"),
        (an_external_experiment(**VILLAGES, plan=a_plan(method="group_sequential")), "plan.method"),
        (
            an_external_experiment(**VILLAGES, plan=a_plan(method="fixed"), metrics=(a_metric_use(), GUARDRAIL)),
            "plan.planned_clusters",
        ),
        (
            an_external_experiment(**VILLAGES, plan=FIXED, metrics=(a_metric_use(), a_metric_use("ever-open"))),
            "metrics.1.metric",
        ),
        (
            an_experiment(metrics=(a_metric_use(), replace(GUARDRAIL, non_inferiority_margin=Amount(absolute=1.0)))),
            "metrics.1.non_inferiority_margin",
        ),
        (
            an_experiment(metrics=(a_metric_use(), replace(GUARDRAIL, non_inferiority_margin=Amount(relative=1.0)))),
            "metrics.1.non_inferiority_margin",
        ),
        (an_external_experiment(unit_type="user_id", analysis_unit="order", plan=a_plan(method="fixed")), "unit_type"),
        (an_external_experiment(unit_type="x" * 65), "unit_type"),
        (an_experiment(metrics=(a_metric_use(mde=Amount(relative=5e-324)),)), "metrics.0.mde"),
        (
            an_experiment(
                metrics=(a_metric_use(mde=Amount(relative=1e-6)),),
                plan=a_plan(method="bayesian", loss_threshold=0.1, minimum_units=10),
            ),
            "plan.prior",
        ),
    ],
)
def test_definitions_that_analysis_could_not_compute_are_refused(definition: ExperimentDefinition, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_definition(definition, CATALOGUE)
    assert list(refusal.value.errors) == [field]


@pytest.mark.parametrize(
    "definition",
    [
        *(
            an_external_experiment(**VILLAGES, plan=FIXED, metrics=(a_metric_use(), a_metric_use(key)))
            for key in ("days-to-open", "order-size", "spend")
        ),
        *(
            an_experiment(
                metrics=(a_metric_use(), a_metric_use(key, role="guardrail", mde=None, non_inferiority_margin=margin))
            )
            for key in ("days-to-open", "ever-open", "order-size", "spend")
            for margin in (Amount(relative=0.2), Amount(absolute=3600.0))
        ),
    ],
)
def test_definitions_that_analysis_can_compute_pass(definition: ExperimentDefinition) -> None:
    check_definition(definition, CATALOGUE)


@pytest.mark.parametrize("payload", [float("nan"), {"deep": float("inf")}, "\ud800", "nul \0", object()])
def test_payloads_that_are_no_json_are_refused(payload: Any) -> None:
    definition = an_experiment()
    broken = [*definition.variants[:1], type(definition.variants[1])(key="treatment", payload=payload)]
    with pytest.raises(InvalidInput) as refusal:
        check_definition(an_experiment(variants=tuple(broken)), CATALOGUE)
    assert list(refusal.value.errors) == ["variants.1.payload"]


def test_a_payload_that_is_nested_too_deeply_is_refused() -> None:
    payload: Any = []
    for _ in range(100_000):
        payload = [payload]
    variants = (*an_experiment().variants[:1], type(an_experiment().variants[1])(key="treatment", payload=payload))
    with pytest.raises(InvalidInput):
        check_definition(an_experiment(variants=variants), CATALOGUE)
