"""When an exposure is logged, and what it says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from abplatform_sdk import Client, Decision, recorder
from abplatform_sdk._assignment import bucket, unanswered, unit_digest
from abplatform_sdk.recorder import ExposedThisHour

from tests.sdk.server import CONVERSIONS, EXPOSURES, PlatformServer
from tests.sdk.snapshots import rule, snapshot

HOUR = 3600
START = 1_795_000_000 // HOUR * HOUR


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        # A new number object at each call, as the real clock gives.
        return self.now + 0.0


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


def test_a_decision_without_a_unit_has_no_exposure(client: Client) -> None:
    assert not client.expose(client.evaluate("rate-display", None))
    assert not client.expose(Decision(unanswered("rate-display", "ASSIGNED")))


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
    memory.turn(START)
    for number in range(100_000):
        seen = memory.claims("rate-display", number % 3).seen
        assert seen.setdefault(str(number), memory) is memory
        memory.note()
        if number == 99_998:
            assert sum(len(memory.claims("rate-display", phase).seen) for phase in range(3)) == 99_999
    assert sum(len(memory.claims("rate-display", phase).seen) for phase in range(3)) == 0


def test_a_clock_that_was_set_back_begins_another_hour() -> None:
    memory = ExposedThisHour()
    memory.turn(START + 10 * HOUR)
    memory.claims("rate-display", 1).seen["u-1"] = memory
    memory.turn(START)
    assert memory.claims("rate-display", 1).seen == {}
    assert (memory.since, memory.until) == (START, START + HOUR)


HELD = {"q3": {"unit_type": "user_id", "salt": "salt-of-q3", "range": [0, 500_000]}}


def test_both_groups_of_a_holdout_are_logged_once(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(
        8, rate_display=rule(holdouts=["q3"], targeting={"vip": True}), other=rule(holdouts=["q3"])
    ) | {"holdouts": HELD}
    eventually(lambda: client.stats().snapshot_version == 8)
    units = [f"u-{number}" for number in range(40)]
    for unit in units:
        for experiment in ("rate-display", "other", "other"):
            client.assign(experiment, unit, {"vip": False})
    client.flush(5)
    events = list(server.taken[EXPOSURES].values())
    checks = {event["unit_id"]: event["group"] for event in events if "holdout" in event}
    expected = {unit: "held_out" if bucket("salt-of-q3", unit) < 500_000 else "open" for unit in units}
    assert checks == expected
    assert set(expected.values()) == {"held_out", "open"}
    # Each unit once for the holdout, though two experiments asked; and once for the experiment that it is in.
    assert len(events) == len(units) + sum(group == "open" for group in expected.values())
    (check,) = [event for event in events if event["unit_id"] == "u-0" and "holdout" in event]
    assert set(check) == {"event_id", "holdout", "group", "unit_id", "timestamp"}


def test_a_held_out_unit_is_exposed_later_too(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(8, rate_display=rule(holdouts=["q3"])) | {"holdouts": HELD}
    eventually(lambda: client.stats().snapshot_version == 8)
    unit = next(unit for unit in map(str, range(100)) if bucket("salt-of-q3", unit) < 500_000)
    decision = client.evaluate("rate-display", unit)
    assert (decision.reason, decision.variant) == ("HOLDOUT", "control")
    assert client.stats().produced == 0
    assert client.expose(decision)
    assert client.flush(5).delivered == 1


def test_forced_and_held_out_units_have_no_exposure_of_the_experiment(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    forced = {"salt": "qa", "units": {unit_digest("qa", "qa-1"): "treatment"}}
    server.snapshot = snapshot(8, rate_display=rule(forced=forced))
    eventually(lambda: client.stats().snapshot_version == 8)
    assert client.assign("rate-display", "qa-1").reason == "FORCED"
    assert client.stats().produced == 0


def test_threads_that_ask_for_the_same_unit_log_it_once(server: PlatformServer, client: Client) -> None:
    start = threading.Barrier(16)

    def work() -> None:
        start.wait()
        for number in range(500):
            client.assign("rate-display", f"u-{number}")

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.stats().produced == 500
    client.flush(5)
    assert sorted(event["unit_id"] for event in server.taken[EXPOSURES].values()) == sorted(
        f"u-{number}" for number in range(500)
    )


def test_before_the_login_an_event_carries_the_other_ids_alone(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(8, by_device=rule(unit_type="device_id"))
    eventually(lambda: client.stats().snapshot_version == 8)
    assert client.assign("by-device", None, units={"device_id": "d-1"}).reason == "ASSIGNED"
    assert client.track("opened", None, units={"device_id": "d-1"})
    assert not client.track("opened", None)
    assert client.stats().reasons == {"invalid_unit": 1}
    assert client.flush(5).delivered == 2
    for path in (EXPOSURES, CONVERSIONS):
        (event,) = server.taken[path].values()
        assert (event["units"], "unit_id" in event) == ({"device_id": "d-1"}, False)


def test_ids_that_cannot_be_sent_are_not_remembered_for_ever(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client(flush_interval=60.0, max_queue=200_000)
    client.wait_ready(5)
    for number in range(100_001):
        client.assign("rate-display", f"nul\0{number}")
    client.flush(10)
    assert client.stats().reasons == {"invalid_unit": 100_001}
    assert len(client._recorder._exposed.claims("rate-display", 1).seen) <= 1


def test_a_repeated_exposure_with_dimensions_is_not_encoded_again(client: Client, monkeypatch: Any) -> None:
    client.assign("rate-display", "u-1", {"channel": "douyin"})
    monkeypatch.setattr(recorder, "encode_exposure", lambda *_, **__: 1 / 0)
    client.assign("rate-display", "u-1", {"channel": "douyin"})
    assert (client.stats().produced, client.stats().dropped) == (1, 0)
