"""How products call the client, as the type checker sees it. Read by mypy, never run."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

from abplatform_sdk import Client, Config, Decision, FlushResult, Stats, testing
from abplatform_sdk.flask import Experiments, Unit
from abplatform_sdk.middleware import AsgiMiddleware, BoundClient, WsgiMiddleware, current
from flask import Flask, Request

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

kit = testing.client(variants={"rate-display": "treatment"}, payloads={"rate-display": {"copy": "350"}}, strict=True)
assert_type(kit, testing.TestingClient)
product_client: Client = kit
kit.force("rate-display", "control", unit_id="u-1", payload={"copy": "3.5%"})
kit.force("rate-display", None)
kit.force("rate-display", 1)  # type: ignore[arg-type]
assert_type(kit.assign("rate-display", "u-1"), Decision)
assert_type(kit.exposures, list[dict[str, Any]])
assert_type(kit.conversions[0], dict[str, Any])
testing.client(snapshot=testing.snapshot(testing.experiment("a", variants={"x": 1, "y": 2}, weights={"x": 9}, phase=2)))
testing.client(variants=["rate-display"])  # type: ignore[arg-type]
testing.experiment("a", pahse=2)  # type: ignore[call-arg]


def read_unit(request: Request) -> Unit | None:
    return Unit(request.headers.get("X-Customer"), {"country": "CN"}, {"device_id": "d-1"})


experiments = Experiments(unit=read_unit)
experiments.init_app(Flask("shop"))
Experiments(Flask("shop"), client=client, unit=lambda request: request.cookies.get("customer"))
Experiments(Flask("shop"))  # type: ignore[call-arg]
assert_type(experiments.client, Client)
assert_type(experiments.assign("rate-display", default="3.5%"), Decision)
assert_type(experiments.track("purchase", value=Decimal("350.00")), bool)
assert_type(experiments.current.unit, Unit)

flask_app = Flask("shop")
flask_app.wsgi_app = WsgiMiddleware(  # type: ignore[method-assign]
    flask_app.wsgi_app, client, unit=lambda environ: environ.get("HTTP_X_CUSTOMER")
)
assert_type(current(), BoundClient)
assert_type(current().assign("rate-display"), Decision)
assert_type(current().track("purchase", value=350), bool)


async def asgi_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    await send({"type": "http.response.body"})


AsgiMiddleware(asgi_app, client, unit=lambda scope: Unit(scope["path"]))
AsgiMiddleware(asgi_app, client, unit=lambda scope: 17)  # type: ignore[arg-type, return-value]
