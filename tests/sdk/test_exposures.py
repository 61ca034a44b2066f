"""When an exposure is logged, and what it says."""

from __future__ import annotations

from collections.abc import Callable

from abplatform_sdk import Client, Decision
from abplatform_sdk.exposed import ExposedThisHour

from tests.sdk.server import EXPOSURES, PlatformServer
from tests.sdk.snapshots import rule, snapshot

HOUR = 3600
START = 1_795_000_000 // HOUR * HOUR


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


def test_assign_logs_the_exposure_that_the_contract_describes(server: PlatformServer, client: Client) -> None:
    decision = client.assign("rate-display", "u-1", {"channel": "douyin", "overdue_days": 12, "name": "somebody"})
    assert client.flush(5).delivered == 1
    (exposure,) = server.taken[EXPOSURES].values()
    assert exposure == {
        "event_id": exposure["event_id"],
        "experiment": "rate-display",
        "phase": 1,
        "variant": decision.variant,
        "unit_id": "u-1",
        "timestamp": exposure["timestamp"],
        "attributes": {"channel": "douyin"},
    }


def test_an_exposure_is_logged_once_per_unit_experiment_phase_and_hour(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    watch = Watch()
    kind = type("ClientWithWatch", (Client,), {"_clock": staticmethod(watch)})
    server.snapshot = snapshot(7, other=rule())
    client = make_client(kind=kind)
    client.wait_ready(5)

    def logged() -> int:
        for _ in range(3):
            client.assign("rate-display", "u-1")
        return client.stats().produced

    assert logged() == 1
    watch.now += HOUR - 1
    assert logged() == 1
    client.assign("rate-display", "u-2")
    client.assign("other", "u-1")
    assert logged() == 3
    watch.now += 1
    assert logged() == 4
    server.snapshot = snapshot(8, rate_display=rule(phase=2))
    eventually(lambda: client.stats().snapshot_version == 8)
    assert logged() == 5
    client.flush(5)
    assert len(server.taken[EXPOSURES]) == 5


def test_evaluate_logs_nothing_and_expose_does_it_later(server: PlatformServer, client: Client) -> None:
    decision = client.evaluate("rate-display", "u-1")
    assert client.stats().produced == 0
    assert client.expose(decision)
    assert client.expose(decision)
    client.flush(5)
    assert len(server.taken[EXPOSURES]) == 1


def test_only_units_in_the_experiment_are_exposed(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(
        8,
        paused=rule(status="paused"),
        shipped=rule(shipped="treatment"),
        nobody=rule(layer={"salt": "s", "slots": []}),
        elsewhere=rule(targeting={"country": "CN"}),
    )
    eventually(lambda: client.stats().snapshot_version == 8)
    reasons = {key: client.assign(key, "u-1").reason for key in ("paused", "shipped", "nobody", "elsewhere", "none")}
    assert reasons == {
        "paused": "NOT_RUNNING",
        "shipped": "SHIPPED",
        "nobody": "NOT_IN_COVERAGE",
        "elsewhere": "NOT_TARGETED",
        "none": "UNKNOWN_EXPERIMENT",
    }
    assert client.stats().produced == 0


def test_a_decision_made_by_hand_has_no_exposure(client: Client) -> None:
    by_hand = Decision("rate-display", "treatment", None, in_experiment=True, reason="ASSIGNED", phase=1)
    assert not client.expose(by_hand)


def test_a_dimension_that_is_no_flat_value_is_left_out(server: PlatformServer, client: Client) -> None:
    client.assign("rate-display", "u-1", {"channel": ["a", "b"]})
    client.assign("rate-display", "u-2", {"channel": float("nan")})
    client.flush(5)
    assert all("attributes" not in event for event in server.taken[EXPOSURES].values())
    assert len(server.taken[EXPOSURES]) == 2


def test_an_exposure_that_was_dropped_is_logged_by_the_next_call(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client(max_queue=1, flush_interval=60.0)
    client.wait_ready(5)
    server.answers[EXPOSURES] = lambda handler: handler.reply(503, b"")
    assert client.expose(client.evaluate("rate-display", "u-1"))
    later = client.evaluate("rate-display", "u-2")
    assert not client.expose(later)
    assert client.stats().reasons == {"queue_full": 1}
    del server.answers[EXPOSURES]
    assert client.flush(5).delivered == 1
    assert client.expose(later)
    assert client.flush(5).delivered == 1
    assert [event["unit_id"] for event in server.taken[EXPOSURES].values()] == ["u-1", "u-2"]


def test_the_memory_of_exposures_is_bounded() -> None:
    memory = ExposedThisHour()
    assert all(memory.claim(number, START) for number in range(200_000))
    assert len(memory._young) + len(memory._old) <= 100_000
    assert not memory.claim(199_999, START)
    assert memory.claim(0, START)
