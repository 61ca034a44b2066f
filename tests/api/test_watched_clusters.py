"""Villages that are watched, over HTTP: a sequential plan with guardrails, and what such a plan must say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Service
from tests.api.documents import conversion_body, experiment_body, exposure_body, metric_body
from tests.api.problems import refused_fields

VILLAGES, MEMBERS = 420, 2
"""Half of the villages of 2 farmers each are treated."""
METRICS = (
    metric_body("insured", event="insured", where={}, window=None),
    metric_body("complaint", event="complaint", where={}, window=None, direction="decrease"),
    metric_body("default", event="default", where={}, direction="decrease"),
)
USES: list[dict[str, Any]] = [
    {"metric": "insured", "role": "primary"},
    {"metric": "complaint", "role": "guardrail", "non_inferiority_margin": {"absolute": 0.1}},
    {"metric": "default", "role": "guardrail", "non_inferiority_margin": {"absolute": 0.1}},
]
PLAN = {"method": "sequential", "planned_units": 840, "planned_clusters": 420}
OF_VILLAGES: dict[str, Any] = {
    "assignment": "external",
    "unit_type": "village",
    "analysis_unit": "user_id",
    "targeting": {},
    "metrics": USES,
}
ONE_IN = {"insured": {"control": 4, "treatment": 2}, "complaint": {"control": 3, "treatment": 3}}
"""Of so many villages one has a farmer with the event."""


@pytest.fixture(name="service")
def _defined(service: Service) -> Service:
    for metric in METRICS:
        assert service.admin.post("/metrics", json=metric).status_code == 201
    return service


def deliver(service: Service, defaults: dict[str, int]) -> None:
    """Villages of both variants and their events; ``defaults``: of so many villages one has a farmer in arrears."""
    exposures, conversions = [], []
    for village in range(VILLAGES):
        variant, number = ("control", "treatment")[village % 2], village // 2
        for farmer in range(MEMBERS):
            unit, units = f"f-{village}-{farmer}", {"village": f"v-{village}"}
            exposures.append(
                exposure_body(f"e-{unit}", experiment="villages", unit_id=unit, units=units, variant=variant)
            )
        for event, one_in in {**ONE_IN, "default": defaults}.items():
            if number % one_in[variant] == 0:
                conversions.append(conversion_body(f"c-{event}-{village}", unit_id=f"f-{village}-0", event=event))
    for path, events in (("/exposures", exposures), ("/conversions", conversions)):
        for first in range(0, len(events), 500):
            answer = service.admin.post(path, json={"events": events[first : first + 500]}).get_json()
            assert answer["rejected"] == []


def results(service: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """The look, and its comparisons by metric."""
    document = service.caller("analyst").get("/experiments/villages/results").get_json()
    return document, {metric["metric"]: metric["comparisons"][0] for metric in document["metrics"]}


def test_a_watched_experiment_on_villages_from_its_plan_to_its_verdicts(service: Service) -> None:
    service.define("villages", plan=PLAN, **OF_VILLAGES)
    assert service.admin.get("/experiments/villages").get_json()["plan"]["planned_clusters"] == 420
    assert service.admin.post("/experiments/villages/start").status_code == 200
    deliver(service, {"control": 4, "treatment": 4})

    look, found = results(service)

    assert [variant["clusters"] for variant in look["metrics"][0]["variants"]] == [210, 210]
    assert (found["insured"]["verdict"], found["insured"]["warnings"]) == ("better", ["NOT_ALWAYS_VALID"])
    assert found["insured"]["interval_kind"] == "confidence_sequence"
    assert found["complaint"]["verdict"] == "non_inferior"
    # Windows of 30 days are open, so that nothing says that the last guardrail is safe.
    assert found["default"]["verdict"] in {"inconclusive", "not_computable"}
    assert look["decision"]["recommendation"] != "ship"


def test_harm_to_villages_alarms_while_windows_are_open(service: Service) -> None:
    service.start("villages", plan=PLAN, **OF_VILLAGES)
    deliver(service, {"control": 4, "treatment": 1})
    look, found = results(service)
    assert found["default"]["verdict"] == "worse"
    assert look["decision"]["recommendation"] == "roll_back"


def test_what_cannot_be_watched_is_refused_by_field(service: Service) -> None:
    fixed = {"method": "fixed", "planned_units": 840}
    changes: list[tuple[str, dict[str, Any]]] = [
        ("plan.planned_clusters", {"plan": PLAN | {"planned_clusters": None}}),
        ("plan.planned_clusters", {"plan": PLAN | {"planned_clusters": 399}}),
        ("plan.planned_clusters", {"plan": PLAN | {"planned_clusters": 841}}),
        ("plan.planned_clusters", {"plan": PLAN | {"planned_clusters": "many"}}),
        ("plan.planned_clusters", {"plan": fixed}),
        ("plan.planned_clusters", {"plan": PLAN | {"planned_units": 2_000}, "analysis_unit": None}),
        ("plan.method", {"plan": PLAN | {"method": "group_sequential"}}),
        ("plan.cuped", {"plan": PLAN | {"cuped": True}}),
    ]
    for field, change in changes:
        answer = service.admin.post("/experiments", json=experiment_body("villages", **OF_VILLAGES | change))
        assert refused_fields(answer) == {field}, change


def test_methods_that_were_not_planned_for_are_refused(service: Service) -> None:
    plan = {"method": "fixed", "planned_units": 840}
    service.start("villages", **OF_VILLAGES | {"metrics": USES[:1], "plan": plan})
    answer = service.admin.get("/experiments/villages/results", query_string={"method": "sequential"})
    assert refused_fields(answer) == {"method"}
