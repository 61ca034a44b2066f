"""Behaviours over HTTP: made, versioned, sliced by, and every bad definition named by its path."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Service
from tests.api.documents import ago, behaviour_body, conversion_body, experiment_body, exposure_body, metric_body
from tests.api.problems import refusal, refused_fields

PATH = "/behaviours/rfm"
VERSIONS = f"{PATH}/versions"
CUT = {"recency": {"quantiles": 2}, "frequency": {"edges": [1]}, "money": {"quantiles": 2}}


def make(service: Service, **changes: Any) -> dict[str, Any]:
    made = service.admin.post("/behaviours", json=behaviour_body(**changes))
    assert made.status_code == 201, made.text
    document: dict[str, Any] = made.get_json()
    return document


def buy(service: Service, amounts: range, *, name: str = "u", **when: float) -> None:
    """Have one unit each spend an amount, a day ago."""
    events = [
        conversion_body(f"{name}-{n}", unit_id=f"{name}-{n}", value=str(amount), timestamp=ago(**when or {"days": 1}))
        for n, amount in enumerate(amounts)
    ]
    assert service.admin.post("/conversions", json={"events": events}).get_json()["rejected"] == []


def test_a_behaviour_is_shown_as_it_was_made(service: Service) -> None:
    document = make(service)
    assert document == behaviour_body() | {
        "description": "",
        "amount": None,
        "recency": {"edges": ["P7D", "P30D", "P90D"], "quantiles": None, "high_from": None},
        "frequency": {"edges": [1, 3], "quantiles": None, "high_from": 3},
        "money": {"edges": ["100", "1000.5"], "quantiles": None, "high_from": None},
        "new_within": "P30D",
        "longer_than_percent": 100,
        "less_than_percent": 100,
        "source": "",
        "version": 1,
        "revision": 1,
        "as_of": document["created_at"],
        "created_at": document["created_at"],
    }
    assert service.admin.get(PATH).get_json() == document
    assert service.admin.get("/behaviours").get_json() == {"items": [document], "next_cursor": None}
    refusal(service.admin.post("/behaviours", json=behaviour_body()), 409, "ALREADY_EXISTS")
    refusal(service.admin.get("/behaviours/rfn"), 404)
    refusal(service.admin.patch(PATH, json={"name": "x"}), 405)
    refusal(service.admin.delete(PATH), 405)


def test_quantiles_are_pinned_when_a_version_is_made(service: Service) -> None:
    buy(service, range(1, 21))
    first = make(service, **CUT)
    assert (first["money"]["edges"], first["money"]["quantiles"]) == (["10"], 2)  # of 1 to 20 the tenth
    buy(service, range(101, 121), name="v")
    assert service.admin.get(PATH).get_json() == first
    headers = {"If-Match": service.admin.get(PATH).headers["ETag"], "Idempotency-Key": "once"}
    made, again = (service.admin.post(VERSIONS, json={}, headers=headers) for _ in range(2))
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/behaviours/rfm?version=2")
    assert made.get_json() == again.get_json()
    second = made.get_json()
    assert (second["money"]["edges"], second["version"], second["revision"]) == (["20"], 2, 2)
    assert second["as_of"] > first["as_of"]
    assert second["created_at"] == first["created_at"]
    assert service.admin.get(f"{PATH}?version=1").get_json() == first
    assert service.admin.get(VERSIONS).get_json() == {"items": [second, first], "next_cursor": None}
    refusal(service.admin.get(f"{PATH}?version=3"), 404)


def test_too_few_units_are_named(service: Service) -> None:
    buy(service, range(1, 20))
    answer = service.admin.post("/behaviours", json=behaviour_body(**CUT))
    assert refused_fields(answer) == {"recency.quantiles", "money.quantiles"}
    assert "of which there are 19, and need at least 20" in answer.text
    assert service.admin.get("/behaviours").get_json()["items"] == []


def test_a_version_needs_if_match_and_a_change(service: Service) -> None:
    make(service)
    refusal(service.admin.post(VERSIONS, json={"name": "x"}), 428)
    refusal(service.admin.post(VERSIONS, json={"name": "x"}, headers={"If-Match": '"old"'}), 412)
    same = service.admin.post(VERSIONS, json={"name": "Customers by value"}, headers={"If-Match": "*"})
    assert "must change something" in refusal(same, 422)["detail"]
    assert service.admin.post(VERSIONS, json={"name": "x"}, headers={"If-Match": "*"}).status_code == 201
    bad = service.admin.post(VERSIONS, json={"look_back": "PT0S"}, headers={"If-Match": "*"})
    assert refused_fields(bad) == {"look_back"}
    refusal(service.admin.post("/behaviours/none/versions", json={"name": "x"}, headers={"If-Match": "*"}), 404)


LIFE: dict[str, Any] = {"key": "k", "name": "n", "kind": "life_cycle", "activity": [{"event": "login"}]}
CHANNEL: dict[str, Any] = LIFE | {"kind": "channel", "source": "channel"}
BAD: list[tuple[dict[str, Any], set[str]]] = [
    (behaviour_body(kind="rmf"), {"kind"}),
    (behaviour_body(key="Rfm"), {"key"}),
    (behaviour_body(key="exposure_week"), {"key"}),
    (behaviour_body(name=""), {"name"}),
    (behaviour_body(activity=[]), {"activity"}),
    (behaviour_body(activity=[{"event": ""}]), {"activity.0.event"}),
    (
        behaviour_body(activity=[{"event": "a"}, {"event": "b", "where": {"x": {"$in": []}}}]),
        {"activity.1.where.x.$in"},
    ),
    (behaviour_body(activity=[{"event": "a", "value": "v"}]), {"activity.0.value"}),
    (behaviour_body(amount={"event": "a", "value": ""}), {"amount.value"}),
    (behaviour_body(look_back="-P1D"), {"look_back"}),
    (behaviour_body(look_back="PT0S"), {"look_back"}),
    (behaviour_body(look_back="P3651D"), {"look_back"}),
    (behaviour_body(recency={"edges": ["P7D", "P7D"]}), {"recency.edges"}),
    (behaviour_body(recency={"edges": ["PT0S", "P3651D"]}), {"recency.edges.0", "recency.edges.1"}),
    (behaviour_body(frequency={"edges": [3, 1]}), {"frequency.edges"}),
    (behaviour_body(frequency={"edges": [0]}), {"frequency.edges.0"}),
    (behaviour_body(frequency={"edges": [1.5]}), {"frequency.edges.0"}),
    (behaviour_body(money={"edges": ["10", "1"]}), {"money.edges"}),
    (behaviour_body(money={"edges": ["0.0000001"]}), {"money.edges.0"}),
    (behaviour_body(money={"edges": [1e14]}), {"money.edges.0"}),
    (behaviour_body(money={"edges": ["NaN"]}), {"money.edges.0"}),
    (behaviour_body(money={}), {"money"}),
    (behaviour_body(money={"edges": ["1"], "quantiles": 3}), {"money"}),
    (behaviour_body(money={"quantiles": 1}), {"money.quantiles"}),
    (behaviour_body(money={"quantiles": 11}), {"money.quantiles"}),
    (behaviour_body(frequency={"edges": list(range(1, 11))}), {"frequency.edges"}),
    (behaviour_body(money={"edges": ["1"], "high_from": 3}), {"money.high_from"}),
    (behaviour_body(money={"edges": ["1"], "high_from": 1}), {"money.high_from"}),
    (behaviour_body(new_within="P3D", source="x"), {"new_within", "source"}),
    (LIFE | {"recency": {"edges": ["P7D"]}}, {"recency"}),
    (LIFE | {"new_within": "PT0S"}, {"new_within"}),
    (LIFE | {"longer_than_percent": 99, "less_than_percent": 101}, {"longer_than_percent", "less_than_percent"}),
    (LIFE | {"less_than_percent": 0}, {"less_than_percent"}),
    (CHANNEL | {"source": ""}, {"source"}),
    (CHANNEL | {"source": "x" * 65}, {"source"}),
    (CHANNEL | {"look_back": "P3D", "amount": {"event": "a"}}, {"look_back", "amount"}),
    (CHANNEL | {"sorce": "x"}, {"sorce"}),
    (CHANNEL | {"version": 3}, {"version"}),
]


def test_bad_definitions_are_refused_by_their_paths(service: Service) -> None:
    wrong = {}
    for number, (body, fields) in enumerate(BAD):
        found = refused_fields(service.admin.post("/behaviours", json=body))
        if found != fields:
            wrong[number] = found, fields
    assert wrong == {}
    assert service.admin.get("/behaviours").get_json()["items"] == []


def start(service: Service, *dimensions: str) -> None:
    """Start an experiment on everybody, by what they have bought so far."""
    assert service.admin.post("/metrics", json=metric_body(window=None)).status_code == 201
    service.start(dimensions=list(dimensions), targeting={})


def expose(service: Service, units: int, *, name: str) -> None:
    events = [
        exposure_body(f"x-{name}-{n}", unit_id=f"{name}-{n}", variant=("control", "treatment")[n % 2])
        for n in range(units)
    ]
    assert service.admin.post("/exposures", json={"events": events}).get_json()["rejected"] == []


def classes(service: Service, by: str) -> dict[str, int]:
    """Units of both arms by slice."""
    answer = service.admin.get(f"/experiments/rate-display/results/breakdown?by={by}")
    assert answer.status_code == 200, answer.text
    (metric,) = answer.get_json()["metrics"]
    return {each["slice"]: sum(arm["units"] for arm in each["variants"]) for each in metric["slices"]}


def test_results_are_sliced_by_the_newest_version_or_the_one_that_is_named(service: Service) -> None:
    start(service, "rfm")
    refused = service.admin.post("/behaviours", json=behaviour_body())
    assert "slices by an exposure attribute rfm" in refusal(refused, 409, "IN_USE")["detail"]
    make(service, key="value", frequency={"edges": [5]}, money={"edges": ["50"]})
    buy(service, range(1, 101), days=2)
    expose(service, 100, name="u")
    expose(service, 10, name="stranger")
    assert classes(service, "value") == {"active": 50, "potential": 50, "none": 10}
    changes = {"money": {"edges": ["90"]}}
    service.admin.post("/behaviours/value/versions", json=changes, headers={"If-Match": "*"})
    assert classes(service, "value") == {"active": 10, "potential": 90, "none": 10}
    assert classes(service, "value@1") == {"active": 50, "potential": 50, "none": 10}
    for wrong, said in (("value@3", "it has had the versions 1 to 2"), ("valu", "did you mean 'value'?")):
        answer = service.admin.get(f"/experiments/rate-display/results/breakdown?by={wrong}")
        assert refused_fields(answer) == {"by"}
        assert said in answer.text


def test_a_declared_behaviour_is_searched_for_differences(service: Service) -> None:
    make(service)
    start(service, "rfm", "channel")
    buy(service, range(1, 101), days=2)
    expose(service, 100, name="u")
    answer = service.admin.get("/experiments/rate-display/results/differences")
    assert answer.status_code == 200, answer.text
    assert {each["dimension"] for each in answer.get_json()["differences"]} == {"rfm", "channel"}
    assert classes(service, "rfm") == {"potential": 100}


def test_a_version_that_there_is_not_is_refused_where_an_experiment_is_defined(service: Service) -> None:
    """By its place among the dimensions; it is one as soon as there is that version."""
    service.define(dimensions=["value@2"])  # there is no such behaviour yet: an attribute of that name
    body = experiment_body("other", dimensions=["channel", "value@1", "value@2", "value@0", "none@7"])
    make(service, key="value")
    said = refusal(service.admin.post("/experiments", json=body), 422)["errors"]
    rule = "there is no version {} of the behaviour 'value'; the newest is 1"
    assert said == {"dimensions.2": [rule.format(2)], "dimensions.3": [rule.format(0)]}
    started = refusal(service.admin.post("/experiments/rate-display/start"), 422)["errors"]
    assert started == {"dimensions.0": [rule.format(2)]}
    path = "/experiments/rate-display"
    headers = {"If-Match": service.admin.get(path).headers["ETag"]}
    edited = service.admin.patch(path, json={"dimensions": ["value@3"]}, headers=headers)
    assert list(refusal(edited, 422)["errors"]) == ["dimensions.0"]
    made = service.admin.post("/behaviours/value/versions", json={"name": "Second"}, headers={"If-Match": "*"})
    assert made.status_code == 201
    assert service.admin.post(f"{path}/start").status_code == 200


def test_behaviours_of_another_project_are_not_there(service: Service) -> None:
    make(service)
    other = service.caller("admin", project="other")
    refusal(other.get(PATH), 404)
    assert other.get("/behaviours").get_json()["items"] == []
    assert other.post("/behaviours", json=behaviour_body()).status_code == 201
