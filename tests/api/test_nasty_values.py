"""Every leaf of a valid body replaced by values that break careless code: refused, or stored harmlessly (F-6..F-8)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Caller, Service
from tests.api.documents import (
    Body,
    behaviour_body,
    conversion_body,
    experiment_body,
    exposure_body,
    holdout_body,
    holdout_exposure_body,
    key_body,
    layer_body,
    metric_body,
    segment_body,
    units_body,
)
from tests.api.problems import refusal

NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -0.0,
    -1,
    1,
    0.1,
    1e-320,
    1e308,
    -1e308,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**60,
    "",
    " ",
    "0",
    "NaN",
    "Infinity",
    "true",
    "null",
    "a" * 10_000,
    "../../etc/passwd",
    "'; DROP TABLE experiment; --",
    '" OR 1=1',
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n%00",
    "\u202e\u200b\ufeff",
    "\U0001f600" * 20,
    "e\u0301\u0327" * 30,
    "保本保息",
    "\x01\x1f\x7f",
    "$gt",
    [],
    [[]],
    ["x"],
    [None],
    {},
    {"": ""},
    {"$gt": ""},
    {"$regex": "(a+)+$"},
    {"x": {"y": {"z": []}}},
    list(range(300)),
    "P1D",
    "9999-12-31T23:59:59.999999999+23:59",
    "0001-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "control",
    "purchase",
)

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of everything in a body, objects and arrays too."""
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in members:
        yield from leaves(child, (*path, name))


def replaced(body: Body, path: Path, value: Any) -> Body:
    """The body with another value at a path."""
    changed = copy.deepcopy(body)
    target: Any = changed
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return changed


BODIES: dict[str, tuple[str, Body]] = {
    "experiment": (
        "/experiments",
        experiment_body(
            "nasty",
            analysis_unit=None,
            assignment="served",
            covariates=[],
            metrics=[
                {"metric": "purchase", "role": "primary", "mde": {"relative": 0.05}},
                {"metric": "spend", "role": "guardrail", "non_inferiority_margin": {"absolute": 0.001}},
            ],
            plan={
                "method": "bayesian",
                "alpha": 0.05,
                "power": 0.8,
                "planned_units": 1000,
                "cuped": False,
                "prior": {"scale": 0.05},
                "loss_threshold": 0.001,
                "minimum_units": 100,
            },
        ),
    ),
    "external experiment": (
        "/experiments",
        experiment_body("nasty", assignment="external", unit_type="village", analysis_unit="farmer", covariates=["age"])
        | {"plan": {"method": "fixed", "planned_units": 10}},
    ),
    "metric": (
        "/metrics",
        metric_body("nasty", where={"product": ["term-deposit", "fund"], "vip": True}, cuped_lookback="P14D"),
    ),
    "capped metric": (
        "/metrics",
        metric_body("nasty", kind="sum", value="amount", cap={"value": 5000}, minimum_age="P45D", outcome="spend"),
    ),
    "ratio": (
        "/metrics",
        metric_body("nasty", kind="ratio", denominator={"event": "order", "where": {"a": 1}, "value": None}),
    ),
    "funnel": (
        "/metrics",
        {
            "key": "nasty",
            "name": "Funnel",
            "kind": "funnel",
            "steps": [{"event": "open", "within": "P1D"}, {"event": "pay", "where": {"a": "b"}}],
        },
    ),
    "layer": ("/layers", layer_body("nasty")),
    "holdout": ("/holdouts", holdout_body("nasty", layers=["home-page"])),
    "segment": ("/segments", segment_body("nasty")),
    "segment of units": ("/segments", units_body("nasty")),
    "behaviour": (
        "/behaviours",
        behaviour_body("nasty", description="", amount={"event": "purchase", "where": {"a": "b"}, "value": "amount"}),
    ),
    "life cycle": (
        "/behaviours",
        {
            "key": "nasty",
            "name": "Stages",
            "kind": "life_cycle",
            "activity": [{"event": "login"}],
            "new_within": "P30D",
            "longer_than_percent": 120,
            "less_than_percent": 80,
        },
    ),
    "channel": (
        "/behaviours",
        {"key": "nasty", "name": "Channel", "kind": "channel", "activity": [{"event": "login"}], "source": "channel"},
    ),
    "key": ("/keys", key_body()),
    "exposure": ("/exposures", exposure_body(variant="control", units={"device_id": "d-1"})),
    "holdout exposure": ("/exposures", holdout_exposure_body(holdout="checked", units={"device_id": "d-1"})),
    "conversion": ("/conversions", conversion_body(units={"device_id": "d-1"})),
}


# The other fields are the same in bodies of another kind; so are the two variants.
OWN_FIELDS = {
    "external experiment": {"assignment", "unit_type", "analysis_unit", "covariates", "targeting"},
    "capped metric": {"value", "cap", "minimum_age", "outcome"},
    "ratio": {"denominator"},
    "funnel": {"steps"},
    "life cycle": {"activity", "new_within", "longer_than_percent", "less_than_percent"},
    "channel": {"activity", "source"},
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_nasty_value_anywhere_is_refused_or_stored_harmlessly(service: Service, kind: str) -> None:
    # A platform of its own: who defines an experiment reads all metrics, who shows a layer all experiments.
    path, body = BODIES[kind]
    admin = service.admin
    _prepare(service)
    taken, refused = [], 0
    places = [place for place in leaves(body) if place[0] in OWN_FIELDS.get(kind, {place[0]})]
    places = [place for place in places if place[:2] != ("variants", 1)]
    for number, (place, value) in enumerate((place, value) for place in places for value in NASTY):
        fresh = body | {"key": f"{kind.replace(' ', '-')}-{number}"} if "key" in body else body
        answer = admin.post(path, data=json.dumps(replaced(fresh, place, value)), content_type="application/json")
        if answer.status_code in {201, 202}:
            taken.append(_make_room(admin, path, answer.get_json()))
        else:
            assert answer.status_code in {400, 409, 422}, f"{place} = {value!r}: {answer.status_code} {answer.text}"
            named = refusal(answer, answer.status_code).get("errors", {})
            assert answer.status_code != 422 or _names(named, place), f"{place} = {value!r}: {named}"
            refused += 1
    assert len(taken) > 20, "the unharmed rest of the body is valid"
    assert refused > 40
    _read_again(admin, path, taken)


def _prepare(service: Service) -> None:
    for key in ("purchase", "spend"):
        service.admin.post("/metrics", json=metric_body(key))
    service.admin.post("/layers", json=layer_body())
    service.admin.post("/holdouts", json=holdout_body("checked"))
    service.start()


EDITED = ("metric", "layer", "holdout", "segment", "segment of units")


@pytest.mark.parametrize("kind", EDITED)
def test_a_nasty_value_in_an_edit_is_refused_or_stored_harmlessly(service: Service, kind: str) -> None:
    path, body = BODIES[kind]
    admin = service.admin
    _prepare(service)
    place = f"{path}/edited-{kind.replace(' ', '-')}"
    assert admin.post(path, json=body | {"key": place.rpartition("/")[2]}).status_code == 201
    taken = 0
    for field in body.keys() - {"key"}:
        for value in NASTY:
            answer = admin.patch(place, json={field: value}, headers={"If-Match": "*"})
            if answer.status_code == 200:
                assert admin.get(place).get_json() == answer.get_json(), f"{field} = {value!r}"
                taken += 1
            else:
                assert field in {name.split(".")[0] for name in refusal(answer, 422)["errors"]}, f"{field} = {value!r}"
    assert taken > 20, "names, at least"


def _make_room(admin: Caller, path: str, document: Body) -> Body:
    """What was made, as it is after what has to happen before another one can be made."""
    if path != "/holdouts":
        return document
    ended = admin.post(f"/holdouts/{document['key']}/end")
    assert ended.status_code == 200, ended.text
    made: Body = ended.get_json()
    return made


def _read_again(admin: Caller, path: str, made: list[Body]) -> None:
    """What was stored comes back, alone and in the list, exactly as the answer said."""
    if path in {"/exposures", "/conversions"}:
        return
    name, cursor = "id" if path == "/keys" else "key", None
    listed: dict[str, Body] = {}
    while True:
        query = {} if path == "/keys" else {"limit": 200} | ({"cursor": cursor} if cursor else {})
        page = admin.get(path, query_string=query).get_json()
        listed |= {item[name]: item for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    for document in made:
        document.pop("secret", None)
        # Members of segments are megabytes: lists leave them out.
        members = {"values"} if path == "/segments" else set()
        assert listed[document[name]] == {field: value for field, value in document.items() if field not in members}
    if path != "/keys":
        assert all(admin.get(f"{path}/{document['key']}").get_json() == document for document in made[::10])


def _names(errors: dict[str, list[str]], place: Path) -> bool:
    """Whether a field that is named lies on the way to the place, or depends on it."""
    dotted = ".".join(map(str, place))
    depends = {"plan", "control", "metrics", "variants", "assignment", "units", "covariates", "experiment", "layers"}
    return any(
        dotted.startswith(named) or named.startswith(dotted) or named.split(".")[0] in depends for named in errors
    )


def test_what_was_stored_can_be_sealed_and_started(service: Service) -> None:
    """The values that pass validation pass everything behind it, too."""
    service.start()
    events = [
        replaced(exposure_body(f"e-{number}", variant="control"), ("attributes", "channel"), value)
        for number, value in enumerate(NASTY)
    ]
    events += [
        exposure_body(f"u-{number}", variant="control", unit_id=value)
        for number, value in enumerate(NASTY)
        if isinstance(value, str)
    ]
    report = service.admin.post("/exposures", json={"events": events}).get_json()
    assert report["accepted"] + len(report["rejected"]) == len(events)
    assert report["accepted"] > 40
    conversions = [
        replaced(conversion_body(f"c-{number}"), ("properties", "product"), value) for number, value in enumerate(NASTY)
    ]
    conversions += [conversion_body(f"v-{number}", value=value) for number, value in enumerate(NASTY)]
    assert service.admin.post("/conversions", json={"events": conversions}).get_json()["accepted"] > 40
    service.platform.seal("default")
    assert service.platform.inbox.pending("default") == 0
