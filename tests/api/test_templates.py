"""Templates of metrics over HTTP."""

from __future__ import annotations

import pytest

from abplatform.domain.templates import TEMPLATES, add_outcomes
from tests.api.conftest import Service
from tests.api.documents import metric_body
from tests.api.problems import refusal, refused_fields

URL = "/metric-templates"


def test_templates_are_listed_with_all_that_they_expect(service: Service) -> None:
    items = service.caller("analyst").get(f"{URL}?set=finance-growth").get_json()["items"]
    assert [each["key"] for each in items] == list(TEMPLATES)
    arpu = next(each for each in items if each["key"] == "arpu")
    assert (arpu["set"], arpu["stage"], arpu["non_inferiority_margin"]) == ("finance-growth", "revenue", None)
    assert arpu["metric"]["cap"] == {"value": None, "quantile": 0.99}
    assert arpu["metric"]["window"] == {"start": "PT0S", "end": "P30D", "calendar": False}
    (event,) = arpu["events"]
    assert (event["event"], event["value"]) == ("revenue", "the amount booked, in the project's currency")
    assert [(each["name"], each["type"]) for each in event["properties"]] == [("contribution", "number")]


def test_a_template_is_shown_in_chinese(service: Service) -> None:
    shown = service.admin.get(f"{URL}/complaint?lang=zh").get_json()
    assert (shown["name"], shown["metric"]["name"]) == ("投诉率", "投诉率")
    assert shown["non_inferiority_margin"] == {"relative": None, "absolute": 0.001}
    assert shown["events"][0]["meaning"].startswith("客户通过任一渠道投诉")


def test_what_a_template_shows_is_what_post_metrics_takes(service: Service) -> None:
    for template in add_outcomes(TEMPLATES.values()):
        shown = service.admin.get(f"{URL}/{template.key}").get_json()
        made = service.admin.post("/metrics", json=shown["metric"])
        assert made.status_code == 201, made.text
    assert service.admin.post(f"{URL}/install", json={"set": "finance-growth"}).status_code == 200, "all unchanged"


def test_a_set_is_installed_once(service: Service) -> None:
    experimenter = service.caller("experimenter")
    made = experimenter.post(f"{URL}/install", json={"set": "finance-growth", "lang": "zh"})
    assert made.status_code == 201
    assert {each["key"] for each in made.get_json()["created"]} == set(TEMPLATES)
    assert made.get_json()["unchanged"] == []
    assert experimenter.get("/metrics/arpu").get_json()["name"] == "30 天户均收入（ARPU）"

    again = experimenter.post(f"{URL}/install", json={"set": "finance-growth"})
    assert again.status_code == 200
    assert again.get_json()["created"] == []
    assert {each["key"] for each in again.get_json()["unchanged"]} == set(TEMPLATES)


def test_a_repeated_request_gets_the_first_answer_again(service: Service) -> None:
    headers, body = {"Idempotency-Key": "once"}, {"templates": ["registration"], "prefix": "app-"}
    first = service.admin.post(f"{URL}/install", json=body, headers=headers)
    again = service.admin.post(f"{URL}/install", json=body, headers=headers)
    assert (first.status_code, first.data) == (again.status_code, again.data) == (201, first.data)
    assert [each["key"] for each in first.get_json()["created"]] == ["app-registration"]
    other = service.admin.post(f"{URL}/install", json={"templates": ["churn"]}, headers=headers)
    refusal(other, 422, "IDEMPOTENCY_MISMATCH")


def test_another_metric_of_a_key_is_a_conflict_and_nothing_is_made(service: Service) -> None:
    assert service.admin.post("/metrics", json=metric_body("churn")).status_code == 201
    refused = service.admin.post(f"{URL}/install", json={"templates": ["refund", "churn"]})
    assert "'churn'" in refusal(refused, 409, "ALREADY_EXISTS")["detail"]
    refusal(service.admin.get("/metrics/refund"), 404)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"set"}),
        ({"set": "finance-growth", "templates": ["churn"]}, {"set"}),
        ({"set": "finance"}, {"set"}),
        ({"set": None}, {"set"}),
        ({"templates": []}, {"templates"}),
        ({"templates": "churn"}, {"templates"}),
        ({"templates": ["churn", "churn"]}, {"templates.1"}),
        ({"templates": ["chrun", 7]}, {"templates.1"}),
        ({"templates": ["chrun", "应用"]}, {"templates.0", "templates.1"}),
        ({"templates": ["churn"], "lang": "fr"}, {"lang"}),
        ({"templates": ["churn"], "prefix": "App "}, {"prefix"}),
        ({"templates": ["churn"], "prefix": "x" * 1000}, {"prefix"}),
        ({"template": ["churn"]}, {"template"}),
    ],
)
def test_what_cannot_be_installed_is_refused_by_field(
    shared_service: Service, body: dict[str, object], wrong: set[str]
) -> None:
    assert refused_fields(shared_service.admin.post(f"{URL}/install", json=body)) == wrong


def test_what_is_not_there_is_refused_with_a_suggestion(shared_service: Service) -> None:
    admin = shared_service.admin
    assert "did you mean 'churn'?" in refusal(admin.get(f"{URL}/chrun"), 404)["detail"]
    refused = admin.post(f"{URL}/install", json={"templates": ["chrun"]})
    assert refusal(refused, 422)["errors"] == {"templates.0": ["there is no template 'chrun'; did you mean 'churn'?"]}
    assert refused_fields(admin.get(f"{URL}?set=finanz-growth&lang=en")) == {"set"}
    assert refused_fields(admin.get(f"{URL}?lang=fr")) == {"lang"}
