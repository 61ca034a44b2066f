"""Cost per acquisition over HTTP: from exposures and conversions that were just accepted."""

from __future__ import annotations

from typing import Any

import pytest

from abplatform.assignment import decode_snapshot, evaluate
from tests.api.conftest import Caller, Service
from tests.api.documents import conversion_body, costs_body, exposure_body, metric_body
from tests.api.problems import refusal, refused_fields

PATH = "/experiments/rate-display/results/acquisition-cost"
OPENED = metric_body("opened", event="opened", where={}, window=None)
ORDERS = metric_body("orders", kind="count", event="opened", where={}, window=None)
Planted = dict[tuple[str, str], list[int]]


def channel_of(number: int) -> str:
    return ("douyin", "wechat", "organic")[number % 3]


@pytest.fixture(name="opened")
def _opened(service: Service) -> tuple[Service, Planted]:
    """300 units of three channels, of which every second of douyin and every fifth of the others are won."""
    for metric in (OPENED, ORDERS):
        assert service.admin.post("/metrics", json=metric).status_code == 201
    metrics = [{"metric": "opened", "role": "primary"}, {"metric": "orders"}, {"metric": "purchase"}]
    service.start(metrics=metrics, targeting={}, plan={"method": "fixed", "planned_units": 300})
    rule = decode_snapshot(service.admin.get("/snapshot").data)
    planted: Planted = {}
    exposures, conversions = [], []
    for number in range(300):
        unit, channel = f"u-{number}", channel_of(number)
        variant = evaluate(rule, "rate-display", unit, {}).variant or ""
        attributes = {"channel": channel}
        exposures.append(exposure_body(f"e-{number}", unit_id=unit, variant=variant, attributes=attributes))
        counts = planted.setdefault((channel, variant), [0, 0])
        counts[0] += 1
        if counts[0] % (2 if channel == "douyin" else 5) == 0:
            counts[1] += 1
            conversions.append(conversion_body(f"c-{number}", unit_id=unit, event="opened"))
    assert service.admin.post("/exposures", json={"events": exposures}).get_json()["rejected"] == []
    assert service.admin.post("/conversions", json={"events": conversions}).get_json()["rejected"] == []
    return service, planted


def ask(caller: Caller, **changes: Any) -> Any:
    return caller.post(PATH, json=costs_body(metric="opened", **changes))


def test_costs_are_divided_by_what_was_planted(opened: tuple[Service, Planted]) -> None:
    service, planted = opened
    answer = ask(service.caller("analyst"), method="fixed")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()

    assert (document["by"], document["metric"], document["method"], document["alpha"]) == (
        "channel",
        "opened",
        "fixed",
        0.05,
    )
    for channel, cost in (("douyin", 120_000.10), ("wechat", 30_000)):
        (found,) = [each for each in document["channels"] if each["channel"] == channel]
        assert (float(found["cost"]), found["units"]) == (cost, 100)
        for variant in found["variants"]:
            units, won = planted[channel, variant["variant"]]
            assert (variant["units"], variant["open_units"], variant["acquisitions"]) == (units, 0, won)
            assert variant["cost"]["estimate"] == pytest.approx(cost / 100 / (won / units))
            assert variant["cost"]["lower"] < variant["cost"]["estimate"] < variant["cost"]["upper"]
    assert (document["total"]["cost"], document["total"]["units"]) == ("150000.1", 200)
    assert document["without_cost"] == [{"channel": "organic", "units": 100}]
    assert service.admin.get("/experiments/rate-display/results/looks").get_json()["items"] == []


def test_without_a_method_the_intervals_may_be_watched(opened: tuple[Service, Planted]) -> None:
    service, _ = opened
    watched, once = (ask(service.admin, **asked).get_json() for asked in ({}, {"method": "fixed"}))
    assert watched["method"] == "sequential"
    for mine, narrower in zip(watched["channels"], once["channels"], strict=True):
        for wide, narrow in zip(mine["variants"], narrower["variants"], strict=True):
            assert wide["cost"]["estimate"] == narrow["cost"]["estimate"]
            assert wide["cost"]["upper"] > narrow["cost"]["upper"]


def test_units_with_open_windows_cost_as_much_and_bring_nothing_yet(opened: tuple[Service, Planted]) -> None:
    service, planted = opened
    document = service.admin.post(PATH, json=costs_body(metric="purchase")).get_json()
    (wechat,) = [each for each in document["channels"] if each["channel"] == "wechat"]
    assert wechat["cost_per_unit"] == 300.0
    for variant in wechat["variants"]:
        assert (variant["units"], variant["open_units"]) == (0, planted["wechat", variant["variant"]][0])
        assert variant["cost"] == {"estimate": None, "lower": None, "upper": None}


REFUSED: list[tuple[dict[str, Any], set[str]]] = [
    ({"costs": {"douyn": "1"}}, {"costs.douyn"}),
    ({"costs": {"douyin": "-1"}}, {"costs.douyin"}),
    ({"costs": {"douyin": "NaN"}}, {"costs.douyin"}),
    ({"costs": {"douyin": "1e16"}}, {"costs.douyin"}),
    ({"costs": {"douyin": "0.0000001"}}, {"costs.douyin"}),
    ({"costs": {"douyin": "12,000"}}, {"costs.douyin"}),
    ({"costs": {"douyin": None, "wechat": True}}, {"costs.douyin", "costs.wechat"}),
    ({"costs": {"douyin": {"amount": 1}}}, {"costs.douyin"}),
    ({"costs": {}}, {"costs"}),
    ({"costs": dict.fromkeys(map(str, range(1001)), "x")}, {"costs"}),
    ({"costs": ["1"]}, {"costs"}),
    ({"metric": "orders"}, {"metric"}),
    ({"metric": "complaint"}, {"metric"}),
    ({"by": "canal"}, {"by"}),
    ({"method": "bayesian"}, {"method"}),
    ({"phase": 2}, {"phase"}),
    ({"phase": 0}, {"phase"}),
]


def test_what_does_not_fit_is_named(opened: tuple[Service, Planted]) -> None:
    service, _ = opened
    for changes, fields in REFUSED:
        answer = service.admin.post(PATH, json=costs_body(**{"metric": "opened"} | changes))
        assert set(refused_fields(answer)) == fields, changes


def test_a_misspelt_channel_is_told_what_may_be_meant(opened: tuple[Service, Planted]) -> None:
    service, _ = opened
    problem = refusal(ask(service.admin, costs={"douyn": "1"}), 422)
    assert "no unit of the experiment has channel 'douyn'; did you mean 'douyin'?" in problem["detail"]


def test_drafts_and_circles_are_refused(service: Service) -> None:
    service.define()
    refusal(service.admin.post(PATH, json=costs_body()), 409, "NOT_ANALYSABLE")
    plan = {"method": "fixed", "planned_units": 100}
    service.start("circles", unit_type="referral_circle", analysis_unit="user_id", plan=plan)
    answer = service.admin.post("/experiments/circles/results/acquisition-cost", json=costs_body())
    assert "clustered" in refusal(answer, 409, "NOT_ANALYSABLE")["detail"]
