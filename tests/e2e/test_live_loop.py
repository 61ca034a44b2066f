"""Define, assign through the real SDK, log, read: on the embedded default and on PostgreSQL, against a ledger."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from abplatform_sdk import Client

from tests.e2e.server import Server, run_command, serving

CUSTOMERS = 600
METRICS = (
    {"key": "purchase", "name": "Purchase", "kind": "conversion", "event": "purchase", "where": {"product": "deposit"}},
    {"key": "amount", "name": "Amount", "kind": "sum", "event": "purchase"},
)
EXPERIMENT = {
    "key": "rate-copy",
    "name": "How the rate is shown",
    "targeting": {"country": {"$in": ["CN", "HK"]}},
    "variants": [{"key": "control", "payload": {"copy": "3.5%"}}, {"key": "treatment", "payload": {"copy": "350"}}],
    "control": "control",
    "metrics": [{"metric": "purchase", "role": "primary"}, {"metric": "amount", "role": "secondary"}],
    "plan": {"planned_units": 1000},
    "dimensions": ["channel"],
}


@pytest.fixture
def shared_settings(empty_url: str, tmp_path: Path) -> dict[str, str]:
    """A database of its own, named by one variable; the lake and the key beside it."""
    return {
        "ABPLATFORM_DATABASE_URL": empty_url.replace("postgresql+psycopg://", "postgresql://"),
        "ABPLATFORM_PSEUDONYM_KEY": "a secret of the test, long enough",
        "ABPLATFORM_LAKE_URL": (tmp_path / "lake").as_uri(),
    }


def define(server: Server) -> None:
    for metric in METRICS:
        server.call("POST", "/metrics", metric, role="experimenter")
    server.call("POST", "/experiments", EXPERIMENT, role="experimenter")
    server.call("POST", "/experiments/rate-copy/start", role="experimenter")


def walk_in(server: Server) -> tuple[Counter[str], Counter[str], dict[str, Decimal]]:
    """All customers come; every third buys, for an amount of its own. Returns the ledger by variant."""
    units, buyers = Counter[str](), Counter[str]()
    amounts = {"control": Decimal(0), "treatment": Decimal(0)}
    client = Client(server.url, api_key=server.key("sdk"), cache_dir=None)
    assert client.wait_ready(timeout=20)
    for number in range(CUSTOMERS):
        customer = f"customer-{number}"
        decision = client.assign("rate-copy", customer, {"country": "CN", "channel": "app", "phone": "13800000000"})
        assert decision.in_experiment
        assert decision.variant is not None
        units[decision.variant] += 1
        if number % 3 == 0:
            value = Decimal(number) / 100 + Decimal("9007199254740.993")
            client.track("purchase", customer, value=value, properties={"product": "deposit" if number % 2 else "fund"})
            amounts[decision.variant] += value
            buyers[decision.variant] += number % 2
    assert client.assign("rate-copy", "elsewhere", {"country": "US"}).reason == "NOT_TARGETED"
    result = client.close(timeout=30)
    assert result.complete
    return units, buyers, amounts


def test_results_equal_the_ledger_of_the_customers(shared_settings: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    run_command(home, "db", "upgrade", **shared_settings)
    with serving(home, **shared_settings) as server:
        define(server)
        units, buyers, amounts = walk_in(server)
        results = server.call("GET", "/experiments/rate-copy/results", role="analyst")
    assert results["health"]["units"] == dict(units)
    assert results["health"]["mismatched_exposures"] == 0
    purchase, amount = results["metrics"]
    assert {each["variant"]: int(each["sum"]) for each in purchase["variants"]} == dict(buyers)
    assert {each["variant"]: Decimal(each["sum"]) for each in amount["variants"]} == amounts
    rows = [row for path in (tmp_path / "lake").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(rows) == CUSTOMERS + CUSTOMERS // 3
    assert "customer-" not in str(rows), "raw ids stay out of the lake"
    assert "13800000000" not in str(rows), "of the attributes only dimensions are kept"
