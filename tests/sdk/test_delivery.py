"""Events reach the server once, whatever happens on the way, or are counted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from abplatform_sdk import Client
from abplatform_sdk.reply import read_receipt

from tests.sdk import server as faults
from tests.sdk.accounts import Tally, accounts_for
from tests.sdk.server import CONVERSIONS, EXPOSURES, PlatformServer
from tests.sdk.snapshots import snapshot


def track(client: Client, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        client.track("purchase", f"u-{number}", value=number)


def units(server: PlatformServer) -> list[str]:
    return [event["unit_id"] for event in server.taken[CONVERSIONS].values()]


def test_events_are_sent_in_batches_within_the_flush_interval(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    client = make_client(flush_interval=0.3)
    track(client, 10)
    assert server.sent(CONVERSIONS) == []
    eventually(lambda: client.stats().delivered == 10)
    (request,) = server.sent(CONVERSIONS)
    assert units(server) == [f"u-{number}" for number in range(10)]
    assert request.headers["Content-Encoding"] == "gzip"
    assert set(json.loads(request.body)) == {"events", "sent_at"}


def test_a_full_batch_does_not_wait(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    client = make_client(flush_interval=60.0, batch_size=100)
    track(client, 250)
    eventually(lambda: client.stats().delivered == 200)
    assert [len(request.events) for request in server.sent(CONVERSIONS)] == [100, 100]
    assert client.flush(5).delivered == 50


@pytest.mark.parametrize(
    "answer",
    [
        faults.problem(500),
        faults.problem(503),
        faults.problem(401),
        faults.problem(403),
        faults.problem(404),
        faults.problem(302, Location="/elsewhere"),
        faults.body(b"<html>", 202),
        faults.body(b'{"accepted": 99, "rejected": []}', 202),
        faults.body(b'{"accepted": 3, "rejected": []}', 200),
        faults.reset,
        faults.half_body,
        faults.garbage,
        faults.hang,
        faults.lose_receipt,
    ],
    ids=[
        "500", "503", "401", "403", "404", "302", "HTML", "wrong count", "200", "reset", "half", "not HTTP", "hang",
        "lost receipt",
    ],
)  # fmt: skip
def test_a_batch_without_receipt_is_sent_again_with_the_same_ids(
    server: PlatformServer, client: Client, eventually: Callable[..., None], answer: faults.Answer
) -> None:
    server.next_answers[CONVERSIONS].append(answer)
    track(client, 3)
    eventually(lambda: client.stats().delivered == 3)
    first, second = server.sent(CONVERSIONS)
    assert first.events == second.events
    assert json.loads(first.body)["sent_at"] < json.loads(second.body)["sent_at"]
    assert len(server.taken[CONVERSIONS]) == 3
    assert accounts_for(client.stats(), 3)


@pytest.mark.parametrize("header", ["1", None], ids=["seconds", "date"])
def test_retry_after_is_kept_even_by_a_flush(
    server: PlatformServer, client: Client, eventually: Callable[..., None], header: str | None
) -> None:
    # A date has whole seconds: two seconds ahead is at least one.
    wait = header or formatdate(time.time() + 2, usegmt=True)
    server.next_answers[CONVERSIONS].append(faults.problem(429, Retry_After=wait))
    began = time.monotonic()
    track(client, 1)
    eventually(lambda: len(server.sent(CONVERSIONS)) == 1)
    client.flush(0.1)
    assert client.stats().pending == 1
    eventually(lambda: client.stats().delivered == 1)
    assert time.monotonic() - began >= 1.0


def test_an_outage_loses_nothing_up_to_the_bound_and_counts_the_rest(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client(max_queue=500)
    server.stop()
    track(client, 800)
    stats = client.stats()
    assert (stats.pending, stats.dropped) == (500, 300)
    assert stats.reasons == {"queue_full": 300}
    assert accounts_for(stats, 800)
    server.start()
    result = client.flush(5)
    assert (result.delivered, result.pending, result.complete) == (500, 0, True)
    assert units(server) == [f"u-{number}" for number in range(500)]
    assert accounts_for(client.stats(), 800)


def test_the_size_of_what_waits_is_bounded_too(server: PlatformServer, make_client: Callable[..., Client]) -> None:
    client = make_client(max_queue=10_000, flush_interval=60.0)
    server.stop()
    properties = {f"name-{number}": "x" * 1000 for number in range(60)}
    for number in range(400):
        client.track("purchase", f"u-{number}", properties=properties)
    stats = client.stats()
    # An event of 60 kB and a bound of 16 MiB.
    assert 250 <= stats.pending <= 290
    assert stats.reasons == {"queue_full": 400 - stats.pending}
    server.start()
    client.flush(5)
    for number in range(200):
        assert client.track("purchase", f"v-{number}", properties=properties)


def test_events_that_the_server_rejects_are_counted_by_its_code(server: PlatformServer, client: Client) -> None:
    for unit in ("u-1", "bad-2", "u-3", "bad-4", "u-5"):
        client.track("purchase", unit)
    result = client.flush(5)
    assert (result.delivered, result.rejected) == (3, 2)
    stats = client.stats()
    assert stats.reasons == {"rejected:BAD_UNIT": 2}
    assert accounts_for(stats, 5)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_is_split_until_the_bad_event_stands_alone(
    server: PlatformServer, make_client: Callable[..., Client], status: int
) -> None:
    def refuse_poison(handler: faults.Handler) -> None:
        if b"poison" in handler.request_read.body:
            faults.problem(status)(handler)
        else:
            server.take(handler.request_read, handler)

    server.answers[CONVERSIONS] = refuse_poison
    client = make_client(flush_interval=60.0)
    track(client, 137)
    client.track("purchase", "poison")
    track(client, 162, first=137)
    result = client.flush(10)
    assert (result.delivered, result.rejected, result.pending) == (299, 1, 0)
    assert client.stats().reasons == {f"rejected:HTTP_{status}": 1}
    assert units(server) == [f"u-{number}" for number in range(299)]
    assert len(server.sent(CONVERSIONS)) < 30


def test_a_server_that_refuses_everything_is_not_asked_in_a_hurry(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.answers[CONVERSIONS] = faults.problem(400)
    client = make_client(flush_interval=0.01)
    track(client, 500)
    time.sleep(1)
    # Ten quick requests find one bad event among 500; after them the pauses grow from 0.25 seconds.
    assert len(server.sent(CONVERSIONS)) <= 14
    assert accounts_for(client.stats(), 500)


def test_one_kind_of_event_does_not_wait_for_the_other(server: PlatformServer, client: Client) -> None:
    server.answers[EXPOSURES] = faults.hang
    client.assign("rate-display", "u-1")
    client.track("purchase", "u-1")
    client.flush(0.5)
    stats = client.stats()
    assert (stats.delivered, stats.pending) == (1, 1)
    assert len(server.taken[CONVERSIONS]) == 1


def test_a_flush_that_runs_out_of_time_keeps_the_events(server: PlatformServer, client: Client) -> None:
    server.answers[CONVERSIONS] = faults.hang
    track(client, 5)
    began = time.monotonic()
    result = client.flush(0.2)
    assert time.monotonic() - began < 0.6
    assert (result.delivered, result.pending, result.complete) == (0, 5, False)


def test_close_sends_what_waits_and_ends_the_threads(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    before = set(threading.enumerate())
    client = make_client(flush_interval=60.0)
    # The first one starts the polling, and may or may not have a snapshot yet.
    early = client.assign("rate-display", "u-1")
    client.wait_ready(5)
    assert client.assign("rate-display", "u-2").in_experiment
    track(client, 5)
    assert {thread.name for thread in set(threading.enumerate()) - before if "abplatform" in thread.name} == {
        "abplatform-snapshot",
        "abplatform-exposures",
        "abplatform-conversions",
    }
    assert client.close(5).delivered == 6 + early.in_experiment
    assert not [t for t in set(threading.enumerate()) - before if "abplatform" in t.name]


def test_close_twice_is_close_once(server: PlatformServer, client: Client) -> None:
    track(client, 5)
    assert client.close(5).delivered == 5
    assert client.close(5).delivered == 0
    assert not client.track("purchase", "u-9")
    decision = client.assign("rate-display", "u-1")
    assert (decision.reason, decision.in_experiment) == ("ASSIGNED", True)
    assert client.flush(1).pending == 0
    stats = client.stats()
    assert stats.reasons == {"closed": 2}
    assert accounts_for(stats, 5 + 2)


def test_close_is_bounded_by_its_deadline_and_counts_what_is_left(server: PlatformServer, client: Client) -> None:
    server.answers[CONVERSIONS] = faults.hang
    track(client, 5)
    began = time.monotonic()
    result = client.close(0.5)
    assert time.monotonic() - began < 1.0
    assert (result.delivered, result.dropped, result.pending) == (0, 5, 0)
    assert client.stats().reasons == {"undelivered": 5}
    assert accounts_for(client.stats(), 5)


def test_events_that_come_while_the_client_closes_are_counted_as_such(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    server.answers[CONVERSIONS] = faults.hang
    track(client, 1)
    closing = threading.Thread(target=client.close, args=(1.0,))
    closing.start()
    eventually(lambda: not client.track("purchase", "u-late"))
    assert closing.is_alive()
    closing.join()
    reasons = client.stats().reasons
    assert set(reasons) == {"closed", "undelivered"}
    assert reasons["closed"] == 1


def test_no_event_is_lost_or_counted_twice_under_sixteen_threads(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client()
    client.wait_ready(5)
    start = threading.Barrier(16)
    tally = Tally(16, others=200)

    def work(name: int) -> None:
        start.wait()
        for number in range(200):
            tally.track(client, name, f"{name}-{number}")
            client.assign("rate-display", f"u-{number}")
            if number % 50 == 0:
                tally.check(client)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(10).pending == 0
    assert tally.misses == []
    assert len(server.taken[CONVERSIONS]) == 16 * 200
    assert sorted(event["unit_id"] for event in server.taken[EXPOSURES].values()) == sorted(
        f"u-{number}" for number in range(200)
    )
    assert client.stats().delivered == 16 * 200 + 200
    assert accounts_for(client.stats(), 16 * 200 + 200)


def test_calls_do_not_wait_for_a_server_that_hangs(server: PlatformServer, make_client: Callable[..., Client]) -> None:
    for path in (faults.SNAPSHOT, EXPOSURES, CONVERSIONS):
        server.answers[path] = faults.hang
    client = make_client(read_timeout=5.0, max_queue=100)
    began = time.monotonic()
    for number in range(1000):
        client.assign("rate-display", f"u-{number}")
        client.track("purchase", f"u-{number}")
    # The calls take 20 ms together; one wait for the server would take 5 seconds.
    assert time.monotonic() - began < 2.5


def test_drops_are_warned_about_once_a_minute(
    server: PlatformServer,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., None],
) -> None:
    client.track("purchase", "")
    eventually(lambda: "invalid_unit" in caplog.text)
    asked = len(server.sent(faults.SNAPSHOT))
    client.track("purchase", "")
    eventually(lambda: len(server.sent(faults.SNAPSHOT)) > asked + 2)
    assert len([record for record in caplog.records if "dropped" in record.message]) == 1
    assert all(record.name == "abplatform_sdk" for record in caplog.records if record.levelname == "WARNING")


QUEUE_FULL = "; queue_full: raise max_queue, lower flush_interval, or look whether the server is reachable"


def drops(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings about drops."""
    found = [record for record in caplog.records if "dropped" in record.message]
    assert all((record.name, record.levelname) == ("abplatform_sdk", "WARNING") for record in found)
    return [record.message for record in found]


def test_a_full_queue_is_reported_with_its_count_and_what_helps(
    server: PlatformServer,
    make_client: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., None],
) -> None:
    client = make_client(max_queue=10, poll_interval=0.05)
    server.stop()
    track(client, 25)
    assert drops(caplog) == []
    client.evaluate("rate-display", "u-1")
    eventually(lambda: drops(caplog) == ["events dropped so far: {'queue_full': 15}" + QUEUE_FULL])


@pytest.mark.parametrize("count", [0, 4])
def test_close_reports_what_was_dropped_since_it_was_last_said(
    make_client: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., None],
    count: int,
) -> None:
    client = make_client(max_queue=10, poll_interval=0.05, flush_interval=60.0)
    client.track("purchase", "")
    client.evaluate("rate-display", "u-1")
    eventually(lambda: drops(caplog) == ["events dropped so far: {'invalid_unit': 1}"])
    # Within the minute in which it is not said again.
    for _ in range(count):
        client.track("purchase", "")
    client.close(1)
    told = [f"closed, events dropped so far: {{'invalid_unit': {1 + count}}}"] if count else []
    assert drops(caplog)[1:] == told


def test_close_reports_a_full_queue_that_no_poll_has_seen(
    server: PlatformServer, make_client: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(max_queue=10, flush_interval=60.0)
    server.stop()
    track(client, 25)
    client.close(0)
    assert len(drops(caplog)) == 1
    assert "'queue_full': 15" in drops(caplog)[0]
    assert "'undelivered': 10" in drops(caplog)[0]
    assert drops(caplog)[0].endswith(QUEUE_FULL)


def test_events_of_a_client_without_a_server_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    client = Client.from_snapshot(snapshot())
    client.track("purchase", "u-1")
    client.close()
    assert client.stats().reasons == {"offline": 1}
    assert drops(caplog) == []


@pytest.mark.parametrize(
    "receipt",
    [
        b"", b"[]", b"null", b"{}", b'{"accepted": 3}', b'{"accepted": "3", "rejected": []}',
        b'{"accepted": 3, "rejected": 0}', b'{"accepted": 2, "rejected": []}', b'{"accepted": true, "rejected": []}',
        b'{"accepted": 2, "rejected": [{"index": 3, "code": "A"}]}',
        b'{"accepted": 2, "rejected": [{"index": -1, "code": "A"}]}',
        b'{"accepted": 2, "rejected": [{"index": [], "code": "A"}]}',
        b'{"accepted": 1, "rejected": [{"index": 1, "code": "A"}, {"index": 1, "code": "A"}]}',
        b"\xff", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_receipt_for_the_batch_is_refused(receipt: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any: the batch is sent again)
        read_receipt(receipt, 3)


def test_a_code_from_outside_does_not_become_a_reason_of_any_shape() -> None:
    receipt = {"accepted": 0, "rejected": [{"index": 0, "code": "x" * 9999}, {"index": 1, "code": "OK_1"}]}
    assert read_receipt(json.dumps(receipt).encode(), 2) == {"rejected:OTHER": 1, "rejected:OK_1": 1}
