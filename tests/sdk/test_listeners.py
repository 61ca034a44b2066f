"""What a product can hear, force and ask at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from abplatform_sdk import Client, Decision, SnapshotNews
from abplatform_sdk.aio import AsyncClient

from tests.sdk import server as faults
from tests.sdk.server import EXPOSURES, KEY, SNAPSHOT, PlatformServer
from tests.sdk.snapshots import TREATMENT, rule, snapshot


def test_a_listener_hears_each_assignment_and_cannot_hurt(client: Client) -> None:
    heard: list[Decision] = []
    remove = client.add_listener(heard.append)
    client.add_listener(lambda _: 1 / 0)
    first = client.assign("rate-display", "u-1")
    unknown = client.assign("none", "u-1")
    client.evaluate("rate-display", "u-2")
    assert heard == [first, unknown]
    assert client.stats().listener_errors == 2
    remove()
    client.assign("rate-display", "u-3")
    assert len(heard) == 2


def test_the_snapshot_tells_when_it_is_ready_changed_stale_and_ready_again(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    client = make_client()
    heard: list[SnapshotNews] = []
    client.add_snapshot_listener(heard.append)
    assert client.wait_ready(5)
    eventually(lambda: [(news.kind, news.version) for news in heard] == [("ready", 7)])
    server.snapshot = snapshot(8)
    eventually(lambda: heard[-1][:2] == ("changed", 8))
    server.answers[SNAPSHOT] = faults.problem(503)
    eventually(lambda: heard[-1] == SnapshotNews("stale", 8, "status 503"))
    del server.answers[SNAPSHOT]
    eventually(lambda: heard[-1][:2] == ("ready", 8))
    assert len(heard) == 4


def test_without_any_snapshot_the_news_is_an_error(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    server.answers[SNAPSHOT] = faults.problem(401)
    client = make_client()
    heard: list[SnapshotNews] = []
    client.add_snapshot_listener(heard.append)
    client.wait_ready(0)
    eventually(lambda: heard == [SnapshotNews("error", None, "status 401: check api_key")])


def test_a_forced_variant_has_no_exposure_and_can_be_lifted(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    before = client.evaluate("rate-display", "u-1")
    client.force("rate-display", "treatment", unit_id="qa-1")
    decision = client.assign("rate-display", "qa-1")
    assert (decision.variant, decision.payload, decision.reason) == ("treatment", TREATMENT, "FORCED")
    assert client.evaluate("rate-display", "u-1") == before
    client.force("rate-display", "control")
    assert {client.assign("rate-display", f"u-{n}").variant for n in range(20)} == {"control"}
    assert client.evaluate("rate-display", "qa-1").variant == "treatment"
    # It stays forced when a newer snapshot comes, and nothing of it is logged.
    server.snapshot = snapshot(8, rate_display=rule(phase=2))
    eventually(lambda: client.stats().snapshot_version == 8)
    eventually(lambda: client.evaluate("rate-display", "qa-1").phase == 2)
    assert client.stats().produced == 0
    client.force("rate-display", None)
    client.force("rate-display", None, unit_id="qa-1")
    assert client.evaluate("rate-display", "qa-1").reason == "ASSIGNED"


def test_what_the_snapshot_does_not_have_forces_nothing(client: Client) -> None:
    client.force("none", "treatment")
    client.force("rate-display", "nothing of it")
    assert client.evaluate("none", "u-1").reason == "UNKNOWN_EXPERIMENT"
    assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"


def test_all_experiments_at_once_are_what_each_is_alone(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.snapshot = snapshot(8, other=rule(targeting={"vip": True}), third=rule(hash_version=2))
    eventually(lambda: client.stats().snapshot_version == 8)
    eventually(lambda: set(client.evaluate_all("u-1")) == {"rate-display", "other", "third"})
    for attributes in ({"vip": True}, {}, None):
        every = client.evaluate_all("u-1", attributes)
        assert every == {key: client.evaluate(key, "u-1", attributes) for key in every}
    assert client.stats().produced == 0


def test_before_the_first_snapshot_there_is_nothing_to_evaluate(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.answers[SNAPSHOT] = faults.problem(503)
    assert make_client().evaluate_all("u-1") == {}


@pytest.mark.parametrize("wraps", [True, False], ids=["a client", "an address"])
def test_the_asyncio_client_waits_without_holding_the_loop(
    server: PlatformServer, make_client: Callable[..., Client], wraps: bool
) -> None:
    async def work() -> int:
        wrapped = (
            AsyncClient(client=make_client())
            if wraps
            else AsyncClient(server.url, KEY, cache_dir=None, flush_interval=60.0)
        )
        async with wrapped as client:
            decision = client.assign("rate-display", "u-1")
            assert decision.reason == "ASSIGNED"
            server.answers[EXPOSURES] = faults.hang
            flushing = asyncio.create_task(client.flush(0.3))
            turns = 0
            while not flushing.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert not (await flushing).complete
            server.let_go.set()
            del server.answers[EXPOSURES]
        return turns

    others = threading.active_count()
    assert asyncio.run(work()) >= 5
    assert len(server.taken[EXPOSURES]) == 1
    assert threading.active_count() < others + 15
