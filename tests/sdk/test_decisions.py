"""What a product gets back, whatever it asks and whatever the server does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import pytest
from abplatform_sdk import Client, Decision
from abplatform_sdk._assignment import decode_snapshot, evaluate

from tests.sdk import server as faults
from tests.sdk.server import SNAPSHOT, PlatformServer
from tests.sdk.snapshots import rule, snapshot

UNITS = [f"u-{number}" for number in range(200)]


def decisions(client: Client) -> list[Decision]:
    return [client.evaluate("rate-display", unit) for unit in UNITS]


def test_a_decision_is_what_the_evaluator_says(client: Client, server: PlatformServer) -> None:
    served = decode_snapshot(json.dumps(server.snapshot))
    for unit, decision in zip(UNITS, decisions(client), strict=True):
        expected = evaluate(served, "rate-display", unit)
        assert (decision.variant, decision.payload, decision.phase) == (expected.variant, expected.payload, 1)
        assert decision.in_experiment
        assert decision.reason == "ASSIGNED"
    assert {decision.variant for decision in decisions(client)} == {"control", "treatment"}


def test_the_default_is_the_payload_when_there_is_no_variant(client: Client) -> None:
    default = {"copy": "as before"}
    unknown = client.assign("no-such", "u-1", default=default)
    assert (unknown.variant, unknown.payload, unknown.reason) == (None, default, "UNKNOWN_EXPERIMENT")
    assert client.assign("rate-display", None, default=default).reason == "NO_UNIT"
    assert client.assign("rate-display", "", default=default).payload is default


def test_before_the_first_snapshot_the_answer_is_not_ready(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.answers[SNAPSHOT] = faults.problem(503)
    client = make_client()
    decision = client.assign("rate-display", "u-1", default=1)
    assert (decision.reason, decision.payload, decision.in_experiment) == ("NOT_READY", 1, False)
    assert not client.wait_ready(0.1)
    assert client.stats().snapshot_version is None


def test_changing_a_payload_does_not_reach_the_next_unit(server: PlatformServer, client: Client) -> None:
    first = client.evaluate("rate-display", "u-1")
    first.payload["copy"] = "guaranteed"
    assert client.evaluate("rate-display", "u-1").payload != first.payload


def test_an_experiment_on_another_unit_type_takes_its_unit_from_units(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(8, by_device=rule(unit_type="device_id"))
    eventually(lambda: client.stats().snapshot_version == 8)
    assert client.assign("by-device", "u-1").reason == "NO_UNIT"
    assert client.assign("by-device", "u-1", units={"device_id": "d-1"}).reason == "ASSIGNED"
    client.flush(5)
    (exposure,) = server.taken[faults.EXPOSURES].values()
    assert (exposure["unit_id"], exposure["units"]) == ("u-1", {"device_id": "d-1"})


def test_an_enumeration_member_is_as_good_as_its_text(client: Client) -> None:
    class Experiments(StrEnum):
        RATE = "rate-display"

    decision = client.assign(Experiments.RATE, "u-1")
    assert decision.reason == "ASSIGNED"
    assert type(decision.experiment) is str


def test_the_poller_asks_with_the_etag_and_takes_the_next_version(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    eventually(lambda: len(server.sent(SNAPSHOT)) > 2)
    assert server.sent(SNAPSHOT)[-1].headers["If-None-Match"] == '"v7"'
    server.snapshot = snapshot(8, rate_display=rule(status="paused"))
    eventually(lambda: client.evaluate("rate-display", "u-1").reason == "NOT_RUNNING")
    assert client.stats().snapshot_source == "server"


def test_an_older_version_is_not_taken(server: PlatformServer, client: Client, eventually: Callable[..., None]) -> None:
    server.snapshot = snapshot(6, rate_display=rule(status="paused"))
    eventually(lambda: client.stats().poll_failures > 0)
    assert client.stats().snapshot_version == 7
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"


def test_an_endless_body_is_cut_off_by_its_size(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    # With 20 seconds for a response, only the bound of 16 MiB ends it in time.
    server.answers[SNAPSHOT] = faults.endless
    client = make_client(read_timeout=5.0)
    client.evaluate("rate-display", "u-1")
    eventually(lambda: client.stats().poll_failures > 0)


def test_each_failed_attempt_is_one_request(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.next_answers[SNAPSHOT].append(faults.reset)
    eventually(lambda: client.stats().poll_failures == 1)


def test_decisions_outlive_the_server_and_it_is_found_again(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    before = decisions(client)
    server.stop()
    eventually(lambda: client.stats().poll_failures > 0)
    assert decisions(client) == before
    server.snapshot = snapshot(8)
    server.start()
    eventually(lambda: client.stats().snapshot_version == 8)
    assert decisions(client) == before


def test_the_key_does_not_follow_a_redirect(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    elsewhere = PlatformServer(snapshot(99))
    try:
        for path in (SNAPSHOT, faults.CONVERSIONS):
            server.answers[path] = faults.problem(307, Location=f"{elsewhere.url}{path}")
        client = make_client()
        client.track("purchase", "u-1")
        assert not client.wait_ready(0.2)
        eventually(lambda: server.sent(faults.CONVERSIONS))
        assert client.stats().pending == 1
        assert elsewhere.requests == []
    finally:
        elsewhere.stop()


class Hostile:
    """Raises whatever is done with it."""

    def _raise(self, *args: object) -> Any:
        raise RuntimeError("hostile")

    __str__ = __repr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = _raise
    __getattr__ = __float__ = __int__ = __index__ = __contains__ = __getitem__ = _raise

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("hostile")


class HostileText(str):
    """A text that raises whatever is done with it."""

    __slots__ = ()

    def _raise(self, *args: object) -> Any:
        raise RuntimeError("hostile")

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = encode = __format__ = _raise  # type: ignore[assignment]


class HostileMapping(Mapping[str, Any]):
    """A mapping that raises whatever is done with it."""

    def _raise(self, *args: object) -> Any:
        raise RuntimeError("hostile")

    __getitem__ = __iter__ = __len__ = __bool__ = get = items = _raise


# Made inside the test: pytest looks at its parameters, and these do not let themselves be looked at.
HOSTILE: dict[str, Callable[[], Any]] = {
    "hostile object": Hostile,
    "hostile text": lambda: HostileText("x"),
    "hostile mapping": HostileMapping,
    "object": object,
    "number": lambda: 7,
    "bytes": lambda: b"x",
    "list": list,
    "dict": dict,
    "lone surrogate": lambda: "\ud800",
    "NUL": lambda: "a\0b",
    "long text": lambda: "x" * 100_000,
    "class": lambda: Hostile,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_argument_raises(client: Client, kind: str) -> None:
    thing = HOSTILE[kind]()
    for decision in (
        client.assign(thing, "u-1", default="mine"),
        client.assign("rate-display", thing, default="mine"),
        client.assign("rate-display", "u-1", thing, default="mine"),
        client.assign("rate-display", "u-1", units=thing, default="mine"),
        client.assign("rate-display", "u-1", {"channel": thing}, default="mine"),
        client.assign("rate-display", "u-1", default=thing),
    ):
        assert type(decision) is Decision
        assert decision.variant is not None or decision.payload == "mine"
        assert decision.experiment in {"", "rate-display", "x", "\ud800", "a\0b", "x" * 100_000}
    assert client.expose(thing) is False
    client.track(thing, "u-1")
    client.track("purchase", thing)
    for field in ("value", "properties", "units", "timestamp", "event_id"):
        client.track("purchase", "u-1", **{field: thing})
    client.track("purchase", "u-1", properties={"a": thing})
    assert client.wait_ready(thing) is True
    client.flush(5)
    stats = client.stats()
    assert stats.pending == 0
    # Eight conversions; of the six calls of `assign`, some are no exposures and some the same one.
    conversions = client._delivery.conversions.buffer.account()
    assert conversions.delivered + conversions.rejected + conversions.dropped == 8
    assert 8 <= stats.delivered + stats.rejected + stats.dropped <= 8 + 6


def test_a_decision_cannot_be_changed(client: Client) -> None:
    with pytest.raises(AttributeError):
        client.evaluate("rate-display", "u-1").variant = "control"  # type: ignore[misc]
