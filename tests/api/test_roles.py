"""Who may do what, cell by cell (A-1..A-5)."""

from __future__ import annotations

import re

import pytest

from abplatform.domain.access import KeyRole
from tests.api.conftest import Service
from tests.api.documents import POSTED, exposure_body, key_body
from tests.api.problems import refusal

# Rows are operations, columns roles: written out here a second time, since this table is the promise.
ROLES = ("sdk", "analyst", "experimenter", "reviewer", "admin")
READERS = {"analyst", "experimenter", "reviewer", "admin"}
AUTHORS = {"experimenter", "admin"}
SENDERS = {"sdk", "admin"}
ADMINS = {"admin"}

OPERATIONS = {
    ("GET", "/experiments"): READERS,
    ("POST", "/experiments"): AUTHORS,
    ("GET", "/experiments/rate-display"): READERS,
    ("PATCH", "/experiments/rate-display"): AUTHORS,
    ("DELETE", "/experiments/rate-display"): AUTHORS,
    ("POST", "/experiments/rate-display/start"): AUTHORS,
    ("POST", "/experiments/rate-display/pause"): AUTHORS,
    ("POST", "/experiments/rate-display/resume"): AUTHORS,
    ("POST", "/experiments/rate-display/ramp"): AUTHORS,
    ("POST", "/experiments/rate-display/phase"): AUTHORS,
    ("POST", "/experiments/rate-display/forced"): AUTHORS,
    ("POST", "/experiments/rate-display/schedule"): AUTHORS,
    ("POST", "/experiments/rate-display/close"): AUTHORS,
    ("POST", "/experiments/rate-display/decide"): AUTHORS,
    ("POST", "/experiments/rate-display/stop"): AUTHORS,
    ("POST", "/experiments/rate-display/archive"): AUTHORS,
    ("GET", "/experiments/rate-display/results"): READERS,
    ("GET", "/experiments/rate-display/results/looks"): READERS,
    ("GET", "/experiments/rate-display/results/timeseries"): READERS,
    ("GET", "/experiments/rate-display/results/interactions"): READERS,
    ("GET", "/experiments/rate-display/results/curve"): READERS,
    ("GET", "/experiments/rate-display/results/breakdown"): READERS,
    ("GET", "/experiments/rate-display/results/differences"): READERS,
    ("POST", "/experiments/rate-display/results/refresh"): READERS,
    ("POST", "/experiments/rate-display/results/acquisition-cost"): READERS,
    ("GET", "/metrics"): READERS,
    ("POST", "/metrics"): AUTHORS,
    ("GET", "/metrics/purchase"): READERS,
    ("PATCH", "/metrics/purchase"): AUTHORS,
    ("DELETE", "/metrics/purchase"): AUTHORS,
    ("GET", "/metrics/purchase/versions"): READERS,
    ("POST", "/metrics/purchase/versions"): AUTHORS,
    ("GET", "/metric-templates"): READERS,
    ("GET", "/metric-templates/registration"): READERS,
    ("POST", "/metric-templates/install"): AUTHORS,
    ("GET", "/layers"): READERS,
    ("POST", "/layers"): AUTHORS,
    ("GET", "/layers/home-page"): READERS,
    ("PATCH", "/layers/home-page"): AUTHORS,
    ("DELETE", "/layers/home-page"): AUTHORS,
    ("GET", "/holdouts"): READERS,
    ("POST", "/holdouts"): AUTHORS,
    ("GET", "/holdouts/q3"): READERS,
    ("PATCH", "/holdouts/q3"): AUTHORS,
    ("DELETE", "/holdouts/q3"): AUTHORS,
    ("POST", "/holdouts/q3/end"): AUTHORS,
    ("GET", "/holdouts/q3/results"): READERS,
    ("GET", "/portfolio"): READERS,
    ("GET", "/segments"): READERS,
    ("POST", "/segments"): AUTHORS,
    ("GET", "/segments/vip-branches"): READERS,
    ("PATCH", "/segments/vip-branches"): AUTHORS,
    ("DELETE", "/segments/vip-branches"): AUTHORS,
    ("GET", "/behaviours"): READERS,
    ("POST", "/behaviours"): AUTHORS,
    ("GET", "/behaviours/rfm"): READERS,
    ("GET", "/behaviours/rfm/versions"): READERS,
    ("POST", "/behaviours/rfm/versions"): AUTHORS,
    ("GET", "/snapshot"): SENDERS,
    ("POST", "/assignments"): SENDERS,
    ("POST", "root:/ofrep/v1/evaluate/flags"): SENDERS,
    ("POST", "root:/ofrep/v1/evaluate/flags/{key}"): SENDERS,
    ("POST", "/exposures"): SENDERS,
    ("POST", "/conversions"): SENDERS,
    ("GET", "/keys"): ADMINS,
    ("POST", "/keys"): ADMINS,
    ("DELETE", "/keys/0123456789abcdef"): ADMINS,
    ("GET", "/projects"): READERS,
    ("GET", "/projects/default"): READERS,
    ("PATCH", "/projects/default"): ADMINS,
}


# What some cannot do without.
QUERIES = {
    "/holdouts/q3/results": {"metric": "purchase"},
    "/experiments/rate-display/results/breakdown": {"by": "channel"},
    "/experiments/rate-display/results/curve": {"metric": "purchase"},
}

# The key of a definition in a path.
KEYED = re.compile("/(rate-display|purchase|home-page|q3|vip-branches|rfm|default)(?=/|$)")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_exactly_what_its_column_says(service: Service, role: KeyRole) -> None:
    caller = service.caller(role)
    wrong = {}
    for (method, path), allowed in OPERATIONS.items():
        response = caller.call(method, path, json=POSTED.get(path) if method == "POST" else None)
        if (response.status_code == 403) == (role in allowed):
            wrong[method, path] = response.status_code
        if role not in allowed:
            refusal(response, 403, "FORBIDDEN")
    assert not wrong


def test_a_refusal_says_what_was_asked_and_who_may_do_it(service: Service) -> None:
    refused = service.caller("analyst").post("/experiments/rate-display/schedule", json={"every": "PT6H"})
    assert refusal(refused, 403)["detail"] == (
        "a key with the role analyst may not set a schedule of results; that takes the role admin or experimenter"
    )


def test_the_table_has_every_operation_of_the_api(service: Service) -> None:
    paths = service.nobody().get("/openapi.json").get_json()["paths"]
    described = {
        (method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"
    }
    public = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
    steps = {"start", "pause", "resume", "close", "stop", "archive"}
    tested = {(method, KEYED.sub("/{key}", f"/api/v1{path}".rpartition("root:")[2])) for method, path in OPERATIONS}
    for known, name in (("0123456789abcdef", "{key_id}"), ("metric-templates/registration", "metric-templates/{key}")):
        tested = {(method, path.replace(known, name)) for method, path in tested}
    tested = {
        (method, f"{path.rpartition('/')[0]}/{{step}}" if path.rpartition("/")[2] in steps else path)
        for method, path in tested
    }
    assert described - public == tested


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer wrong",
        "Bearer abp_admin_0123456789abcdef_" + "x" * 43,
        "Bearer null",
        "Bearer \u00e4",
        "Bearer ' OR 1=1 --",
        "Bearer " + "a" * 10_000,
        "Token abc",
    ],
)
def test_bad_credentials_are_refused_everywhere_before_the_body_is_read(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode().decode("latin-1")}
    for method, path in OPERATIONS:
        response = service.nobody().call(method, path, headers=headers, data=b"\xff not JSON")
        refusal(response, 401, "UNAUTHENTICATED")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_with_one_changed_letter_opens_nothing(service: Service) -> None:
    secret = service.admin.secret or ""
    for position in range(len(secret)):
        changed = secret[:position] + ("x" if secret[position] != "x" else "y") + secret[position + 1 :]
        refusal(service.nobody(changed).get("/experiments"), 401)


def test_a_revoked_key_stops_working_at_once(service: Service) -> None:
    made = service.admin.post("/keys", json=key_body(role="analyst")).get_json()
    caller = service.nobody(made["secret"])
    assert caller.get("/experiments").status_code == 200
    assert service.admin.delete(f"/keys/{made['id']}").status_code == 204
    refusal(caller.get("/experiments"), 401)
    assert service.admin.delete("/keys/0123456789abcdef").status_code == 404


def test_a_secret_is_shown_once(service: Service) -> None:
    made = service.admin.post("/keys", json=key_body())
    secret = made.get_json()["secret"]
    assert made.headers["Cache-Control"] == "no-store"
    listed = service.admin.get("/keys")
    assert secret not in listed.text
    assert "secret" not in listed.text
    assert made.get_json()["id"] in {key["id"] for key in listed.get_json()["items"]}


def test_resources_of_another_project_do_not_exist(service: Service) -> None:
    service.start()
    service.arrange()
    stranger, stranger_sdk = service.caller("admin", "other"), service.caller("sdk", "other")
    for method, path in OPERATIONS:
        if KEYED.search(path):
            body = {"name": "x"} if method == "PATCH" else POSTED.get(path)
            refusal(stranger.call(method, path, json=body, query_string=QUERIES.get(path)), 404, "NOT_FOUND")
    own_key = service.admin.get("/keys").get_json()["items"][0]["id"]
    refusal(stranger.delete(f"/keys/{own_key}"), 404)
    assert stranger.get("/experiments").get_json()["items"] == []
    assert "rate-display" not in stranger_sdk.get("/snapshot").text
    rejected = stranger_sdk.post("/exposures", json={"events": [exposure_body()]}).get_json()["rejected"]
    assert [each["code"] for each in rejected] == ["UNKNOWN_EXPERIMENT"]
    assert service.platform.inbox.pending("default") == 0
