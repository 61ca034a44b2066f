"""How products call the client, as the type checker sees it. Read by mypy, never run."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

from abplatform_sdk import Client, Config, Decision, FlushResult, Stats

client = Client("http://localhost:8080", api_key="key")
assert_type(client, Client)
Client("http://localhost:8080", "key", poll_interval=5, batch_size=1000, cache_dir=None)
Client("http://localhost:8080", "key", pol_interval=5)  # type: ignore[call-arg]
Client("http://localhost:8080", "key", batch_size="many")  # type: ignore[arg-type]
Client("http://localhost:8080")  # type: ignore[call-arg]

decision = client.assign("rate-display", "u-1", {"country": "CN", "app_version": "3.4.1"}, default={"copy": "3.5%"})
assert_type(decision, Decision)
assert_type(decision.experiment, str)
assert_type(decision.variant, str | None)
assert_type(decision.payload, Any)
assert_type(decision.in_experiment, bool)
assert_type(decision.reason, str)
assert_type(decision.phase, int | None)
decision.variant = "control"  # type: ignore[misc]

client.assign("rate-display", None, units={"device_id": "d-1"})
client.assign("rate-display", 17)  # type: ignore[arg-type]
client.assign("rate-display", "u-1", {}, {"device_id": "d-1"})  # type: ignore[call-arg]
assert_type(client.evaluate("rate-display", "u-1"), Decision)
assert_type(client.expose(decision), bool)
client.expose("rate-display")  # type: ignore[arg-type]

assert_type(
    client.track(
        "purchase",
        "u-1",
        value=Decimal("350.00"),
        properties={"product": "term-deposit", "days": 30, "rate": 3.5, "new": True, "code": None},
        units={"device_id": "d-1"},
        timestamp=datetime(2026, 11, 23, tzinfo=UTC),
        event_id="order-77",
    ),
    bool,
)
client.track("purchase", "u-1", value=350)
client.track("purchase", "u-1", properties={"nested": {"a": 1}})  # type: ignore[dict-item]

assert_type(client.wait_ready(5), bool)
assert_type(client.flush(), FlushResult)
assert_type(client.flush(1.5).complete, bool)
assert_type(client.close(2), FlushResult)
stats = client.stats()
assert_type(stats, Stats)
assert_type(stats.reasons, Mapping[str, int])
assert_type(Config(base_url="http://localhost:8080", api_key="key").poll_interval, float)
