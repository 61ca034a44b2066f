"""A real experiment through the running server: shuffled, every tenth event sent twice, equal to the last digit."""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, serving

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "hillstrom.csv.gz"
ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
METRICS = {"visit": "conversion", "conversion": "conversion", "spend": "sum"}

pytestmark = pytest.mark.skipif(
    not DATA.is_file(),
    reason="needs hillstrom.csv.gz, the public-domain MineThatData E-Mail Analytics data of Kevin Hillstrom (2008)",
)


def rows() -> list[dict[str, str]]:
    with gzip.open(DATA, "rt", newline="") as file:
        return list(csv.DictReader(file))


def define(server: Server) -> None:
    for key, kind in METRICS.items():
        server.call("POST", "/metrics", {"key": key, "name": key, "kind": kind, "event": key}, role="experimenter")
    server.call(
        "POST",
        "/experiments",
        {
            "key": "hillstrom",
            "name": "E-mail campaign",
            "assignment": "external",
            "variants": [{"key": arm, "weight": 1} for arm in ARMS],
            "control": "No E-Mail",
            "metrics": [{"metric": "visit", "role": "primary"}]
            + [{"metric": key, "role": "secondary"} for key in ("conversion", "spend")],
            "plan": {"method": "fixed", "alpha": 0.05, "power": 0.8, "planned_units": 64000},
            "dimensions": ["channel"],
        },
        role="experimenter",
    )
    server.call("POST", "/experiments/hillstrom/start", role="experimenter")


def events(table: list[dict[str, str]], when: str) -> list[tuple[str, dict[str, Any]]]:
    made: list[tuple[str, dict[str, Any]]] = []
    for number, row in enumerate(table):
        unit = {"unit_id": f"customer-{number}", "timestamp": when}
        exposure = {"experiment": "hillstrom", "variant": row["segment"], "attributes": {"channel": row["channel"]}}
        made.append(("exposures", {"event_id": f"e-{number}", **exposure, **unit}))
        for key in METRICS:
            if Decimal(row[key]):
                value = {"value": row[key]} if key == "spend" else {}
                made.append(("conversions", {"event_id": f"{key}-{number}", "event": key, **value, **unit}))
    return made


def deliver(server: Server, made: list[tuple[str, dict[str, Any]]]) -> Counter[str]:
    """Send everything in shuffled order with every tenth event twice; returns what was accepted."""
    sent = made + made[::10]
    random.Random(20260105).shuffle(sent)
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for kind, event in sent:
        by_kind[kind].append(event)
    batches = [(kind, some[at : at + 1000]) for kind, some in by_kind.items() for at in range(0, len(some), 1000)]
    server.key("sdk")

    def send(batch: tuple[str, list[dict[str, Any]]]) -> tuple[str, int]:
        kind, some = batch
        answer = server.call("POST", f"/{kind}", {"events": some}, role="sdk")
        assert answer["rejected"] == []
        return kind, answer["accepted"]

    accepted: Counter[str] = Counter()
    with ThreadPoolExecutor(4) as pool:
        for kind, count in pool.map(send, batches):
            accepted[kind] += count
    assert accepted == Counter({kind: len(some) for kind, some in by_kind.items()})
    return accepted


def test_events_over_http_give_the_counts_and_sums_of_the_file_to_the_last_digit(tmp_path: Path) -> None:
    table = rows()
    with serving(tmp_path / "home") as server:
        define(server)
        deliver(server, events(table, datetime.now(UTC).isoformat()))
        server.call("POST", "/experiments/hillstrom/stop", role="experimenter")
        results = server.call("GET", "/experiments/hillstrom/results", role="analyst")
    expected_units = Counter(row["segment"] for row in table)
    assert results["health"]["units"] == dict(expected_units)
    assert results["health"]["multi_variant_units"] == 0
    assert results["health"]["sample_ratio"]["ok"] is True
    for metric in results["metrics"]:
        for variant in metric["variants"]:
            arm, key = variant["variant"], metric["metric"]
            exact = sum((Decimal(row[key]) for row in table if row["segment"] == arm), Decimal(0))
            assert variant["units"] == expected_units[arm]
            assert Decimal(variant["sum"]) == exact, (key, arm)
            assert variant["mean"] == pytest.approx(float(exact) / expected_units[arm], rel=1e-12)
