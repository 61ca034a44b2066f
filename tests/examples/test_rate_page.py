"""The example service: with the testing kit, and in a real server against the real platform."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
import urllib3
from abplatform_sdk import testing
from abplatform_sdk.testing import TestingClient
from flask.testing import FlaskClient

from examples.rate_page.app import DEFAULT, create_app
from tests.e2e.server import Server, serving
from tests.sdk.hosted import BIN, Host, hosting

COPIES = {"control": "3.5% a year", "treatment": "10,000 earns 350 in a year"}
METRICS = (
    {
        "key": "purchase",
        "name": "Deposit made",
        "kind": "conversion",
        "event": "purchase",
        "where": {"product": "term-deposit"},
    },
    {"key": "amount", "name": "Amount", "kind": "sum", "event": "purchase"},
)
EXPERIMENT = {
    "key": "rate-display",
    "name": "How the rate is shown",
    "targeting": {"country": {"$in": ["CN", "HK"]}},
    "variants": [{"key": key, "payload": {"copy": copy}} for key, copy in COPIES.items()],
    "control": "control",
    "metrics": [{"metric": "purchase", "role": "primary"}, {"metric": "amount", "role": "secondary"}],
    "plan": {"planned_units": 1000},
    "dimensions": ["channel"],
}
VISITORS = 60


@pytest.fixture
def kit() -> TestingClient:
    rule = testing.experiment(
        "rate-display",
        variants={key: {"copy": copy} for key, copy in COPIES.items()},
        targeting=EXPERIMENT["targeting"],
        dimensions=["channel"],
    )
    return testing.client(snapshot=testing.snapshot(rule), strict=True)


@pytest.fixture
def web(kit: TestingClient, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("RATE_PAGE_SECRET_KEY", "a secret of the test")
    return create_app(client=kit).test_client()


def shown(page: str) -> str:
    found = re.search(r'<p id="copy">(.*?)</p>', page)
    assert found, page
    return found.group(1)


@pytest.mark.parametrize(("variant", "copy"), COPIES.items())
def test_the_page_speaks_the_words_of_the_variant_and_exposes_it(
    kit: TestingClient, web: FlaskClient, variant: str, copy: str
) -> None:
    kit.force("rate-display", variant)
    for _ in range(2):
        assert shown(web.get("/?channel=douyin").text) == copy
    (exposure,) = kit.exposures
    assert (exposure["variant"], exposure["attributes"]) == (variant, {"channel": "douyin"})


def test_a_deposit_is_logged_for_the_same_visitor_and_counts_once_however_often_it_is_sent(
    kit: TestingClient, web: FlaskClient
) -> None:
    order = re.search(r'name="order" value="(.*?)"', web.get("/").text)
    assert order
    for _ in range(2):
        answer = web.post("/deposits", data={"amount": "10000.50", "order": order.group(1)}, follow_redirects=True)
        assert "10,000.50" in answer.text
    first, second = kit.conversions
    assert (first["event"], first["value"], first["properties"]) == ("purchase", "10000.5", {"product": "term-deposit"})
    assert first["unit_id"] == kit.exposures[0]["unit_id"]
    assert first["event_id"] == second["event_id"] == order.group(1)


def test_visitors_who_are_not_targeted_see_the_control_and_are_not_exposed(
    kit: TestingClient, web: FlaskClient
) -> None:
    assert shown(web.get("/", headers={"X-Country": "US"}).text) == COPIES["control"]
    assert kit.exposures == []


@pytest.mark.parametrize("amount", ["", "a lot", "NaN", "-1", "0", "1.005", "1e9", "Infinity"])
def test_an_amount_that_is_none_is_refused_and_logs_nothing(kit: TestingClient, web: FlaskClient, amount: str) -> None:
    assert web.post("/deposits", data={"amount": amount}).status_code == 400
    assert kit.conversions == []


def test_without_a_snapshot_the_page_falls_back_on_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_PAGE_SECRET_KEY", "a secret of the test")
    web = create_app(client=testing.client()).test_client()
    assert shown(web.get("/").text) == DEFAULT["copy"]


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ABPLATFORM_URL", "ABPLATFORM_API_KEY"])
def test_a_missing_setting_is_named_at_start(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {"SECRET_KEY", "ABPLATFORM_URL", "ABPLATFORM_API_KEY"} - {missing}:
        monkeypatch.setenv(f"RATE_PAGE_{name}", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=missing):
        create_app()


def define(platform: Server) -> None:
    for metric in METRICS:
        platform.call("POST", "/metrics", metric, role="experimenter")
    platform.call("POST", "/experiments", EXPERIMENT, role="experimenter")
    platform.call("POST", "/experiments/rate-display/start", role="experimenter")


def visit(host: Host, number: int) -> tuple[str, Decimal]:
    """A new visitor reads the page; every third deposits. Gives the variant seen and the amount."""
    root = f"http://127.0.0.1:{host.port}"
    with urllib3.PoolManager(retries=False) as http:
        page = http.request("GET", f"{root}/?channel=app", timeout=10)
        text = page.data.decode()
        cookie = {"Cookie": page.headers["Set-Cookie"].split(";")[0]}
        (variant,) = (key for key, copy in COPIES.items() if copy == shown(text))
        if number % 3:
            return variant, Decimal(0)
        amount = Decimal(number + 1) + Decimal("0.25")
        order = re.search(r'name="order" value="(.*?)"', text)
        assert order
        fields = {"amount": str(amount), "order": order.group(1)}
        answer = http.request("POST", f"{root}/deposits", fields=fields, headers=cookie, redirect=False, timeout=10)
        assert answer.status == 303
        return variant, amount


def test_the_service_in_a_real_server_and_the_results_of_the_real_platform_agree(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as platform:
        define(platform)
        settings = {
            "RATE_PAGE_ABPLATFORM_URL": platform.url,
            "RATE_PAGE_ABPLATFORM_API_KEY": platform.key("sdk"),
            "RATE_PAGE_ABPLATFORM_OPTIONS": '{"cache_dir": null}',
            "RATE_PAGE_SECRET_KEY": "a secret of the test",
        }
        start = "from examples.rate_page.app import create_app\n"
        start += "app = create_app()\napp.extensions['abplatform'].wait_ready(10)\n"
        (tmp_path / "ready.py").write_text(start)
        command = [str(BIN / "gunicorn"), "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
        command += ["--pythonpath", str(tmp_path), "ready:app"]
        with hosting(command, platform.url, **settings) as host:
            seen = [visit(host, number) for number in range(VISITORS)]
            assert host.stop() == 0, "".join(host.printed)
        results = platform.call("GET", "/experiments/rate-display/results", role="analyst")
    assert results["health"]["units"] == dict(Counter(variant for variant, _ in seen))
    assert results["health"]["mismatched_exposures"] == 0
    purchase, amounts = results["metrics"]
    buyers = Counter(variant for variant, amount in seen if amount)
    assert {each["variant"]: int(each["sum"]) for each in purchase["variants"]} == buyers
    for each in amounts["variants"]:
        assert Decimal(each["sum"]) == sum((amount for key, amount in seen if key == each["variant"]), Decimal(0))
