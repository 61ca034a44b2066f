"""CUPED on the wire: look-backs of metrics, plans that ask for it, plans that cannot have it."""

from __future__ import annotations

import pytest

from tests.api.conftest import Service
from tests.api.documents import experiment_body, metric_body
from tests.api.problems import refusal

CLUSTERED = {"unit_type": "referral_circle", "analysis_unit": "user_id"}


def test_a_metric_looks_back_fourteen_days_unless_it_says_otherwise(service: Service) -> None:
    plain = service.admin.post("/metrics", json=metric_body("plain"))
    longer = service.admin.post("/metrics", json=metric_body("longer", cuped_lookback="P28D"))
    assert (plain.get_json()["cuped_lookback"], longer.get_json()["cuped_lookback"]) == ("P14D", "P28D")
    assert service.admin.get("/metrics/longer").get_json()["cuped_lookback"] == "P28D"


@pytest.mark.parametrize("value", ["PT0S", "-P1D", "P3651D", "14", 14, None, "P1M"])
def test_a_lookback_that_cannot_be_is_named(shared_service: Service, value: object) -> None:
    answer = shared_service.admin.post("/metrics", json=metric_body("never", cuped_lookback=value))
    assert list(refusal(answer, 422)["errors"]) == ["cuped_lookback"]


def test_a_plan_asks_for_it_and_clusters_cannot(service: Service) -> None:
    service.admin.post("/metrics", json=metric_body())
    asked = experiment_body("asked", plan={"method": "fixed", "planned_units": 100, "cuped": True})
    assert service.admin.post("/experiments", json=asked).get_json()["plan"]["cuped"] is True
    answer = service.admin.post("/experiments", json=asked | CLUSTERED | {"key": "refused"})
    assert list(refusal(answer, 422)["errors"]) == ["plan.cuped"]
