"""The request path takes no locks: what must hold whenever threads, signal handlers and senders meet on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from abplatform_sdk import Client, Decision, Stats
from abplatform_sdk._assignment import decode_snapshot
from abplatform_sdk.notices import Listeners

from tests.sdk.accounts import accounts_for
from tests.sdk.interleavings import Scene, interrupt_everywhere, try_orders
from tests.sdk.snapshots import rule, snapshot
from tests.sdk.still_client import Sleeper, StillClient

BOUNDARY = 1_795_000_000 // 3600 * 3600


@pytest.mark.parametrize(
    ("enough", "before"),
    [(1, []), (500, []), (500, ["u-0"])],
    ids=["it sends what it finds", "it waits for company", "it is about to fall asleep again"],
)
def test_an_exposure_never_waits_for_a_sender_that_sleeps(enough: int, before: list[str]) -> None:
    def make() -> Scene:
        client = StillClient(max_queue=enough).with_snapshot()
        for unit in before:
            client.assign("rate-display", unit)
            client.lane.hurry()
        sleeper = Sleeper(client)

        def check() -> None:
            stats = client.stats()
            assert accounts_for(stats, len(before) + 1)
            assert not stats.pending or sleeper.will_look
            sleeper.run()
            client.assign("rate-display", "u-2")
            assert not client.stats().pending or sleeper.will_look
            client.lane.hurry()
            sleeper.run()
            assert client.wire.units == [*before, "u-1", "u-2"]

        return Scene(lambda: client.assign("rate-display", "u-1"), sleeper.step, check)

    assert try_orders(make) > 60


def test_nothing_is_left_behind_where_close_meets_an_exposure() -> None:
    def make() -> Scene:
        client = StillClient().with_snapshot()

        def check() -> None:
            stats = client.stats()
            assert accounts_for(stats, 1)
            assert (stats.pending, stats.dropped) == (0, 1)

        return Scene(lambda: client.assign("rate-display", "u-1"), lambda: client.close(0), check)

    try_orders(make)


@pytest.mark.parametrize("enough", [1, 500])
def test_nothing_is_left_behind_where_close_meets_the_sender(enough: int) -> None:
    def make() -> Scene:
        client = StillClient(max_queue=enough).with_snapshot()
        client.assign("rate-display", "u-1")
        buffer = client.lane.buffer

        def check() -> None:
            # A thread that had found room before: the sender does not go round and round over its event.
            buffer.light.append(("", "u-2", 0.0))
            assert buffer.head(most=1, most_bytes=1) == []
            if len(buffer.light) >= buffer.wake_at:
                buffer.call_sender()
            stats = client.stats()
            assert accounts_for(stats, 2)
            assert stats.pending == 0

        return Scene(client.lane._sender.step, lambda: client.close(0), check)

    try_orders(make)


def test_threads_that_ask_for_one_unit_log_it_once() -> None:
    def make() -> Scene:
        client = StillClient().with_snapshot()

        def ask() -> Decision:
            return client.assign("rate-display", "u-1")

        def check() -> None:
            assert (client.stats().produced, client.stats().pending) == (1, 1)

        return Scene(ask, ask, check)

    try_orders(make)


def test_an_exposure_without_room_is_counted_and_logged_by_a_later_call() -> None:
    def make() -> Scene:
        client = StillClient(max_queue=1).with_snapshot()

        def check() -> None:
            stats = client.stats()
            assert accounts_for(stats, 2)
            # Two threads that find the last place at the same moment both get in.
            assert stats.pending in {1, 2}
            client.flush(0)
            client.lane._sender.step()
            for unit in ("u-1", "u-2"):
                client.assign("rate-display", unit)
                client.lane._sender.step()
            assert sorted(client.wire.units) == ["u-1", "u-2"]

        return Scene(lambda: client.assign("rate-display", "u-1"), lambda: client.assign("rate-display", "u-2"), check)

    try_orders(make)


def test_the_account_balances_at_any_moment() -> None:
    def make() -> Scene:
        client = StillClient(max_queue=2).with_snapshot()
        client.assign("rate-display", "u-1")
        seen: list[Stats] = []

        def work() -> None:
            client.assign("rate-display", "u-2")
            client.assign("rate-display", "u-3")
            client.lane._sender.step()

        def check() -> None:
            # What is on its way from one queue to the other is never out of sight.
            assert all(any(accounts_for(stats, calls) for calls in (1, 2, 3)) for stats in seen)

        return Scene(work, lambda: seen.append(client.stats()), check)

    try_orders(make)


def test_two_flushes_at_once_both_reach_their_end() -> None:
    def make() -> Scene:
        client = StillClient(batch_size=100, max_queue=1000).with_snapshot()
        lane = client._delivery.conversions

        def flush(count: int) -> None:
            for number in range(count):
                client.track("purchase", f"u-{number}")
            lane.hurry()

        def check() -> None:
            for _ in range(3):
                lane._sender.step()
            assert client.stats().pending == 0

        for _ in range(98):
            client.track("purchase", "u-0")
        return Scene(lambda: flush(1), lambda: flush(2), check)

    try_orders(make)


def test_the_first_call_never_hides_a_snapshot_that_arrives_meanwhile() -> None:
    def make() -> Scene:
        client = StillClient()

        def check() -> None:
            assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"

        return Scene(lambda: client.evaluate("rate-display", "u-1"), client._look, check)

    try_orders(make)


def test_first_calls_at_the_same_moment_are_all_answered() -> None:
    def make() -> Scene:
        client = StillClient()
        client._store.hold(decode_snapshot(client.wire.snapshot), "disk")
        reasons: list[str] = []

        def ask() -> None:
            reasons.append(client.evaluate("rate-display", "u-1").reason)

        return Scene(ask, ask, lambda: _equal(reasons, ["ASSIGNED", "ASSIGNED"]))

    try_orders(make)


def test_what_answers_and_the_disk_copy_stay_as_close_found_them(tmp_path: Path) -> None:
    def make() -> Scene:
        client = StillClient(cache_dir=tmp_path).with_snapshot()
        for copy in tmp_path.iterdir():
            copy.unlink()
        client.wire.snapshot = snapshot(8, rate_display=rule(status="paused"))

        def see() -> tuple[object, ...]:
            copies = [copy.name for copy in tmp_path.iterdir() if copy.suffix == ".json"]
            return client.stats().snapshot_version, client.evaluate("rate-display", "u-1").reason, copies

        def close() -> None:
            client.close(0)
            seen.append(see())

        def check() -> None:
            assert [see()] == seen
            assert client.evaluate_all("u-1")["rate-display"].reason == seen[0][1]
            assert not list(tmp_path.glob(".snapshot-*"))

        seen: list[tuple[object, ...]] = []
        return Scene(client._look, close, check)

    assert try_orders(make) > 60


def test_every_error_of_a_listener_is_counted() -> None:
    def make() -> Scene:
        listeners: Listeners[None] = Listeners()
        listeners.add(lambda _: 1 / 0)

        def tell() -> None:
            listeners.tell(None)

        return Scene(tell, tell, lambda: _equal(listeners.errors, 2))

    assert try_orders(make) > 10
    assert interrupt_everywhere(make) > 5


def test_forcing_never_hides_a_snapshot_that_arrives_meanwhile() -> None:
    def make() -> Scene:
        client = StillClient().with_snapshot()
        client.wire.snapshot = snapshot(8, rate_display=rule(status="paused"), other=rule())

        def check() -> None:
            assert client.evaluate("rate-display", "u-1").reason == "NOT_RUNNING"
            assert client.evaluate("other", "u-1").reason == "FORCED"

        return Scene(lambda: client.force("other", "control"), client._look, check)

    try_orders(make)


def test_the_turn_of_the_hour_loses_no_unit() -> None:
    def make() -> Scene:
        times = [BOUNDARY - 0.001, BOUNDARY + 0.001, BOUNDARY + 1.0, BOUNDARY + 2.0]
        kind = type("ClientWithWatch", (StillClient,), {"_clock": staticmethod(lambda: times.pop(0))})
        client = kind().with_snapshot()

        def check() -> None:
            assert client.stats().produced in {1, 2}
            for _ in range(2):
                client.assign("rate-display", "u-1")
            client.lane.hurry()
            client.lane._sender.step()
            assert set(client.wire.units) == {"u-1"}
            # Once in each hour; once more for each thread that believed in the old hour while it had turned.
            assert 1 <= len(client.wire.units) <= 4

        return Scene(lambda: client.assign("rate-display", "u-1"), lambda: client.assign("rate-display", "u-1"), check)

    try_orders(make)


def _track(client: Client) -> None:
    client.track("purchase", "u-1")
    client.track("purchase", "")


def _assign(client: Client) -> None:
    client.assign("rate-display", "u-1")


def _stats(client: Client) -> None:
    stats = client.stats()
    # At most the two events of the call that it stands in the midst of.
    assert any(accounts_for(stats, calls) for calls in (0, 1, 2)), stats


EVENTS: dict[Callable[[Client], None], list[str]] = {
    _track: ["a purchase", "another"],
    _assign: ["the exposure of u-1"],
    _stats: [],
}


@pytest.mark.parametrize("inner", EVENTS)
@pytest.mark.parametrize("outer", EVENTS)
def test_a_signal_handler_may_ask_at_any_moment(
    outer: Callable[[Client], None], inner: Callable[[Client], None]
) -> None:
    produced = 1 if inner is outer is _assign else len(EVENTS[inner]) + len(EVENTS[outer])

    def make() -> Scene:
        client = StillClient().with_snapshot()
        # Where the hour turns meanwhile, a unit may be logged once more.
        client._recorder._exposed.turn(time.time())

        def check() -> None:
            assert accounts_for(client.stats(), produced)
            client.close(0)
            assert accounts_for(client.stats(), produced)
            assert client.stats().pending == 0

        return Scene(lambda: outer(client), lambda: inner(client), check)

    assert interrupt_everywhere(make) > 40


def _equal(one: object, other: object) -> None:
    assert one == other
