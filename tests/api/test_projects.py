"""The project of a key over HTTP."""

from __future__ import annotations

from tests.api.conftest import Service
from tests.api.documents import experiment_body, metric_body
from tests.api.problems import refusal

PATH = "/projects/default"


def tag(service: Service) -> dict[str, str]:
    return {"If-Match": service.admin.get(PATH).headers["ETag"]}


def test_a_key_sees_its_own_project_alone(service: Service) -> None:
    stranger = service.caller("admin", "other")
    own = service.admin.get(PATH).get_json()
    assert own | {"created_at": ""} == {
        "key": "default",
        "name": "Default",
        "unit_type": "user_id",
        "time_zone": "UTC",
        "revision": 1,
        "created_at": "",
    }
    assert service.admin.get("/projects").get_json() == {"items": [own], "next_cursor": None}
    assert [each["key"] for each in stranger.get("/projects").get_json()["items"]] == ["other"]
    refusal(stranger.get(PATH), 404)
    refusal(stranger.patch(PATH, json={"name": "x"}, headers={"If-Match": "*"}), 404)
    refusal(service.admin.get("/projects/nowhere"), 404)


def test_an_edit_needs_the_etag_of_a_read(service: Service) -> None:
    first = tag(service)
    refusal(service.admin.patch(PATH, json={"name": "A"}), 428)
    edited = service.admin.patch(PATH, json={"name": "A", "time_zone": "Asia/Shanghai"}, headers=first)
    assert edited.status_code == 200
    assert (edited.get_json()["name"], edited.get_json()["time_zone"]) == ("A", "Asia/Shanghai")
    assert service.admin.get(PATH).get_json() == edited.get_json()
    refusal(service.admin.patch(PATH, json={"name": "B"}, headers=first), 412)
    assert service.admin.get(PATH, headers={"If-None-Match": edited.headers["ETag"]}).status_code == 304
    refusal(service.caller("experimenter").patch(PATH, json={"name": "B"}, headers=tag(service)), 403)


def test_what_is_wrong_is_named(service: Service) -> None:
    answer = service.admin.patch(PATH, json={"time_zone": "Asia/Shangai"}, headers=tag(service))
    assert "did you mean 'Asia/Shanghai'?" in refusal(answer, 422)["errors"]["time_zone"][0]
    for field, value in (("unit_type", "device_id"), ("key", "x"), ("revision", 7), ("name", None), ("time_zone", 8)):
        answer = service.admin.patch(PATH, json={field: value}, headers=tag(service))
        assert list(refusal(answer, 422)["errors"]) == [field]


def test_the_zone_stays_while_an_experiment_counts_calendar_days(service: Service) -> None:
    days = {"start": "P1D", "end": "P2D", "calendar": True}
    service.admin.post("/metrics", json=metric_body("next-day", kind="retention", window=days))
    uses = [{"metric": "next-day", "role": "primary"}]
    assert service.admin.post("/experiments", json=experiment_body(metrics=uses)).status_code == 201
    zone = {"time_zone": "Asia/Shanghai"}
    assert service.admin.post("/experiments/rate-display/start").status_code == 200
    detail = refusal(service.admin.patch(PATH, json=zone, headers=tag(service)), 409, "IN_USE")["detail"]
    assert "rate-display has started, and its metric next-day counts calendar days of UTC" in detail
    for step in ("stop", "archive"):
        service.admin.post(f"/experiments/rate-display/{step}")
    assert service.admin.patch(PATH, json=zone, headers=tag(service)).status_code == 200
