"""Results over HTTP: from events that were just accepted to the scorecard's document."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

import pytest
import sqlalchemy as sa

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.bootstrap import Platform
from tests.api.conftest import Service
from tests.api.documents import conversion_body, decision_body, exposure_body, phase_body
from tests.api.problems import refusal, refused_fields

UNITS = 400
ATTRIBUTES = {"country": "CN", "app_version": "3.4.1"}


@pytest.fixture(name="measured")
def _measured(service: Service) -> Service:
    """An experiment in which every fourth unit of the control and every second of the treatment converts."""
    service.start(plan={"method": "fixed", "planned_units": UNITS})
    snapshot = decode_snapshot(service.admin.get("/snapshot").data)
    exposures, conversions = [], []
    seen = {"control": 0, "treatment": 0}
    for number in range(UNITS):
        unit = f"u-{number}"
        variant = evaluate(snapshot, "rate-display", unit, ATTRIBUTES).variant or ""
        exposures.append(exposure_body(f"e-{number}", unit_id=unit, variant=variant))
        seen[variant] += 1
        if seen[variant] % {"control": 4, "treatment": 2}[variant] == 0:
            conversions.append(conversion_body(f"c-{number}", unit_id=unit))
    assert service.admin.post("/exposures", json={"events": exposures}).get_json()["accepted"] == UNITS
    assert service.admin.post("/conversions", json={"events": conversions}).get_json()["rejected"] == []
    return service


def test_results_hold_every_event_that_was_accepted_before_the_call(measured: Service) -> None:
    analyst = measured.caller("analyst")
    answer = analyst.get("/experiments/rate-display/results")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert sum(document["health"]["units"].values()) == UNITS
    assert document["health"]["mismatched_exposures"] == 0
    (metric,) = document["metrics"]
    control, treatment = metric["variants"]
    # Windows of 30 days are still open: units that have converted are not closed either.
    assert control["units"] + control["open_units"] == document["health"]["units"]["control"]
    assert treatment["units"] + treatment["open_units"] == document["health"]["units"]["treatment"]
    assert document["experiment"] == "rate-display"
    assert document["preregistered"] is True
    assert document["decision"]["recommendation"] in {"ship", "roll_back", "continue", "inconclusive", "invalid"}


def test_results_without_a_window_give_the_rates_that_were_planted(service: Service) -> None:
    service.define()
    tag = service.admin.get("/metrics/purchase").headers["ETag"]
    edited = service.admin.patch("/metrics/purchase", json={"window": None}, headers={"If-Match": tag})
    assert edited.status_code == 200
    service.start("second", targeting={}, plan={"method": "fixed", "planned_units": 100})
    rule = decode_snapshot(service.admin.get("/snapshot").data)
    exposures, conversions, expected = [], [], {"control": [0, 0], "treatment": [0, 0]}
    for number in range(100):
        variant = evaluate(rule, "second", f"u-{number}", {}).variant or ""
        converts = number % 3 == 0
        expected[variant][0] += 1
        expected[variant][1] += converts
        exposures.append(exposure_body(f"e-{number}", experiment="second", unit_id=f"u-{number}", variant=variant))
        if converts:
            conversions.append(conversion_body(f"c-{number}", unit_id=f"u-{number}"))
    service.admin.post("/exposures", json={"events": exposures})
    service.admin.post("/conversions", json={"events": conversions})
    (metric,) = service.admin.get("/experiments/second/results").get_json()["metrics"]
    for result in metric["variants"]:
        units, converted = expected[result["variant"]]
        assert result["units"] == units
        assert float(result["sum"]) == converted
        assert math.isclose(result["mean"], converted / units)


def test_another_method_is_exploratory_and_leaves_no_look(measured: Service) -> None:
    path = "/experiments/rate-display/results"
    explored = measured.admin.get(path, query_string={"method": "sequential"}).get_json()
    assert (explored["method"], explored["look"]) == ("sequential", 0)
    assert measured.admin.get(f"{path}/looks").get_json() == {"items": [], "next_cursor": None}
    look = measured.admin.get(path).get_json()
    assert look["look"] == 1
    assert measured.admin.get(f"{path}/looks").get_json()["items"] == [look]


def test_a_refresh_computes_now_and_says_from_what(measured: Service) -> None:
    path = "/experiments/rate-display/results"
    analyst = measured.caller("analyst")
    look = analyst.post(f"{path}/refresh")
    assert look.status_code == 200, look.text
    document = look.get_json()
    state = measured.platform.lake.state("default")
    cut_off = document["cut_off"]
    assert (cut_off["exposures"], cut_off["conversions"]) == (str(state.exposures), str(state.conversions))
    assert cut_off["as_of"] == document["computed_at"]
    assert cut_off["engine"].startswith("duckdb ")
    assert analyst.post(f"{path}/refresh", json={}).get_json() == document == analyst.get(path).get_json()
    assert refused_fields(analyst.post(f"{path}/refresh", json={"phase": 1})) == {""}
    assert refused_fields(analyst.post(f"{path}/refresh", json={"method": "fixed"})) == {""}


def test_results_of_a_later_phase_count_who_is_left_out_and_show_what_people_decided(measured: Service) -> None:
    path = "/experiments/rate-display"
    assert measured.admin.post(f"{path}/phase", json=phase_body()).status_code == 200
    snapshot = decode_snapshot(measured.admin.get("/snapshot").data)
    exposures = []
    for number in range(UNITS - 30, UNITS + 50):  # 30 of them were in phase 1
        variant = evaluate(snapshot, "rate-display", f"u-{number}", ATTRIBUTES).variant or ""
        exposures.append(exposure_body(f"again-{number}", unit_id=f"u-{number}", variant=variant, phase=2))
    assert measured.admin.post("/exposures", json={"events": exposures}).get_json()["accepted"] == 80
    assert measured.admin.get(f"{path}/results").get_json()["decision_taken"] is None
    decided = measured.admin.post(f"{path}/decide", json=decision_body()).get_json()["decision"]

    document = measured.admin.get(f"{path}/results").get_json()
    assert (document["health"]["earlier_phase_units"], sum(document["health"]["units"].values())) == (30, 50)
    taken = document["decision_taken"]
    expected = decision_body(decided_at=None, phase=2, look=1)
    assert taken | {"decided_at": None} == decided | {"decided_at": None} == expected
    assert datetime.fromisoformat(taken["decided_at"]) == datetime.fromisoformat(decided["decided_at"])
    assert document["decision"]["recommendation"] == "inconclusive", "the data's own word stays"
    past = measured.admin.get(f"{path}/results?phase=1").get_json()
    assert (past["health"]["earlier_phase_units"], past["decision_taken"]) == (None, taken)


@contextmanager
def read_only(platform: Platform) -> Iterator[None]:
    """As after a failover to a standby, or where the disk was mounted anew: the database refuses whoever writes."""
    sqlite = platform.database.dialect.name == "sqlite"

    def forbid(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON" if sqlite else "SET TRANSACTION READ ONLY")

    sa.event.listen(platform.database, "begin", forbid, insert=True)
    yield
    sa.event.remove(platform.database, "begin", forbid)
    platform.database.dispose()


@contextmanager
def lake_away(platform: Platform) -> Iterator[None]:
    """As of storage that is not mounted."""
    folder = platform.settings.home / "lake"
    folder.rename(folder.with_name("away"))
    yield
    shutil.rmtree(folder, ignore_errors=True)  # what was written below the mount point
    folder.with_name("away").rename(folder)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (read_only, "the database can only be read; try again shortly"),
        (lake_away, "files of the lake are missing; if its storage is mounted, abplatform lake verify names them"),
    ],
)
def test_while_nothing_can_be_computed_results_are_those_of_the_last_look_and_say_so(
    measured: Service, fault: Callable[[Platform], AbstractContextManager[None]], reason: str
) -> None:
    path, admin = "/experiments/rate-display/results", measured.admin
    one, another = (exposure_body(unit, unit_id=unit) for unit in ("one", "another"))
    assert admin.get(f"{path}?method=bayesian").get_json()["look"] == 0  # there is a lake now, and no look
    assert admin.post("/exposures", json={"events": [one]}).get_json()["accepted"] == 1
    with fault(measured.platform):
        assert refusal(admin.get(path), 503, "UNAVAILABLE")["detail"] == reason
    look = admin.get(path).get_json()
    explored = admin.get(f"{path}?method=bayesian").get_json()
    assert look["stale"] is None
    assert admin.post("/exposures", json={"events": [another]}).get_json()["accepted"] == 1
    with fault(measured.platform):
        answer = admin.get(path)
        assert answer.status_code == 200, answer.text
        stale = answer.get_json()
        assert stale["stale"] == {"since": look["computed_at"], "reason": reason}
        said, *others = stale["health"]["warnings"]
        assert said.startswith("Not fresh: nothing that came after ")
        assert stale | {"stale": None, "health": stale["health"] | {"warnings": others}} == look
        other = admin.get(f"{path}?method=bayesian").get_json()
        assert (other["look"], other["method"], other["stale"]) == (0, "bayesian", stale["stale"])
        assert other["metrics"] == explored["metrics"]
        refusal(admin.post(f"{path}/refresh"), 503, "UNAVAILABLE")
        refusal(admin.get("/experiments/nothing/results"), 404, "NOT_FOUND")
        assert refused_fields(admin.get(f"{path}?phase=2")) == {"phase"}
    after = admin.get(path).get_json()
    assert (after["stale"], after["look"], sum(after["health"]["units"].values())) == (None, 2, UNITS + 2)


@pytest.fixture(scope="module", name="started")
def _started(shared_service: Service) -> Service:
    shared_service.start()
    return shared_service


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("method=group-sequential", "method"),
        ("method=magic", "method"),
        ("metric=spend", "metric"),
        ("metric=%00", "metric"),
        ("metric=UPPER", "metric"),
        ("phase=2", "phase"),
        ("phase=0", "phase"),
        ("phase=x", "phase"),
        ("by=channel", "by"),
    ],
)
def test_a_question_that_has_no_answer_names_its_part(started: Service, query: str, field: str) -> None:
    assert refused_fields(started.admin.get(f"/experiments/rate-display/results?{query}")) == {field}


def test_a_draft_has_no_results(service: Service) -> None:
    service.define()
    refusal(service.admin.get("/experiments/rate-display/results"), 409, "NOT_ANALYSABLE")


def test_results_by_day_end_with_what_the_scorecard_says(measured: Service) -> None:
    analyst = measured.caller("analyst")
    document = analyst.get("/experiments/rate-display/results/timeseries?metric=purchase").get_json()
    (scored,) = analyst.get("/experiments/rate-display/results?method=sequential").get_json()["metrics"]
    (series,) = document["metrics"]
    assert (document["method"], series["metric"], series["always_valid"]) == ("sequential", "purchase", True)
    last = series["days"][-1]
    assert last["variants"] == scored["variants"]
    assert last["comparisons"] == scored["comparisons"]
    assert all(each["exploratory"] for each in last["comparisons"])


def test_results_by_day_refuse_bounds_that_are_those_of_looks(service: Service) -> None:
    service.start(plan={"method": "group_sequential", "planned_units": UNITS})
    answer = service.admin.get("/experiments/rate-display/results/timeseries?method=group_sequential")
    assert refused_fields(answer) == {"method"}
    assert service.admin.get("/experiments/rate-display/results/timeseries").get_json()["method"] == "sequential"
