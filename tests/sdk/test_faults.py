"""A server that breaks in every way: decisions stay, nothing raises, and each event arrives once or is counted.

The long form, with times and memory, is ``make chaos``.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from abplatform_sdk import Client, Config
from abplatform_sdk.reply import TransportError
from abplatform_sdk.snapshot import DiskCopy
from abplatform_sdk.transport import Transport, _retry_after
from hypothesis import given
from hypothesis import strategies as st

from tests.sdk import server as faults
from tests.sdk.accounts import Tally, accounts_for
from tests.sdk.bad_answers import BAD_ANSWERS, ENDLESS
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY, SNAPSHOT, PlatformServer
from tests.sdk.snapshots import snapshot
from tests.sdk.test_process import run

UNITS = [f"u-{number}" for number in range(20)]


def arrived(server: PlatformServer, path: str) -> list[str]:
    return sorted(event["unit_id"] for event in server.taken[path].values())


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_decisions_stay_and_events_arrive_once_whatever_the_server_answered(
    server: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None], answer: faults.Answer
) -> None:
    client = make_client(read_timeout=0.15)
    assert client.wait_ready(5)
    before = [client.evaluate("rate-display", unit) for unit in UNITS]
    for path in (SNAPSHOT, EXPOSURES, CONVERSIONS):
        server.answers[path] = answer
    assert [client.assign("rate-display", unit) for unit in UNITS] == before
    assert all(client.track("purchase", unit) for unit in UNITS)
    eventually(lambda: client.stats().poll_failures > 0 and server.sent(EXPOSURES) and server.sent(CONVERSIONS))
    assert [client.evaluate("rate-display", unit) for unit in UNITS] == before
    stats = client.stats()
    assert (stats.produced, stats.pending, stats.evaluation_errors) == (40, 40, 0)
    server.let_go.set()
    server.answers.clear()
    server.snapshot = snapshot(10)
    assert client.flush(5).delivered == 40
    for path in (EXPOSURES, CONVERSIONS):
        assert arrived(server, path) == sorted(UNITS)
    eventually(lambda: client.stats().snapshot_version == 10)


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_answer_without_an_end_is_given_up_long_before_the_time_runs_out(
    server: PlatformServer, answer: faults.Answer
) -> None:
    server.answers[SNAPSHOT] = answer
    # 2 seconds to connect and four times 5 to read are the time of a request.
    transport = Transport(Config(base_url=server.url, api_key=KEY, cache_dir=None))
    began = time.monotonic()
    with pytest.raises(TransportError, match=r"too large|too much|trailer"):
        transport.get("/snapshot", etag=None, most_bytes=16 * 1024 * 1024)
    assert time.monotonic() - began < 3
    transport.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and never serves them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9",
        "http://no-such-host.invalid",
        f"http://{'a' * 64}.invalid",
        "https://{server}",
        "http://{silent}",
        "https://{silent}",
    ],
    ids=["nobody listens", "no such host", "no possible host", "TLS to a plain port", "silence", "silent handshake"],
)
def test_a_server_that_cannot_be_reached_costs_no_decision_and_no_wait(
    server: PlatformServer, make_client: Callable[..., Client], silent: str, tmp_path: Any, url: str
) -> None:
    url = url.format(server=server.url.partition("//")[2], silent=silent)
    DiskCopy(tmp_path, base_url=url, api_key=KEY).write(json.dumps(snapshot()).encode())
    began = time.monotonic()
    client = make_client(url=url, cache_dir=tmp_path, close_timeout=0.3)
    assert {client.assign("rate-display", unit).reason for unit in UNITS} == {"ASSIGNED"}
    assert make_client(url=url).assign("rate-display", "u-1", default=7).payload == 7
    assert time.monotonic() - began < 1
    client.flush(0.1)
    assert client.stats().pending == len(UNITS)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 1.5
    assert client.stats().reasons == {"undelivered": len(UNITS)}


def test_a_server_that_dies_again_and_again_gets_everything_once(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client()
    client.wait_ready(5)
    for life in range(8):
        for number in range(200):
            client.track("purchase", f"{life}-{number}")
            client.assign("rate-display", f"{life}-{number}")
        server.stop() if life % 2 else client.flush(0.01)
        client.track("purchase", f"{life}-last")
        server.let_go.clear()
        if life % 2:
            server.start()
    assert client.flush(10).pending == 0
    expected = sorted(f"{life}-{number}" for life in range(8) for number in range(200))
    assert arrived(server, EXPOSURES) == expected
    assert arrived(server, CONVERSIONS) == sorted([*expected, *(f"{life}-last" for life in range(8))])
    assert client.stats().dropped == 0


def test_threads_that_switch_all_the_time_lose_nothing_while_the_server_breaks(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client(max_queue=100_000, batch_size=100, flush_interval=0.01)
    client.wait_ready(5)
    tally = Tally(32, others=200)
    for path in (EXPOSURES, CONVERSIONS):
        server.next_answers[path].extend([faults.reset, faults.lose_receipt, faults.problem(500), faults.half_body])

    def work(name: int) -> None:
        draw = random.Random(name)
        for number in range(200):
            tally.track(client, name, f"{name}-{number}")
            client.assign("rate-display", f"u-{number}")
            if draw.random() < 0.01:
                client.flush(0.01)
            tally.check(client)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(name,)) for name in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert client.flush(10).pending == 0
    assert tally.misses == []
    assert accounts_for(client.stats(), 32 * 200 + 200)
    assert arrived(server, EXPOSURES) == sorted(f"u-{number}" for number in range(200))
    assert arrived(server, CONVERSIONS) == sorted(f"{name}-{number}" for name in range(32) for number in range(200))


def test_an_outage_costs_a_bounded_amount_of_memory(server: PlatformServer) -> None:
    server.answers[EXPOSURES] = server.answers[CONVERSIONS] = faults.problem(503)
    program = f"""
    import tracemalloc
    client = Client({server.url!r}, {KEY!r}, cache_dir=None, max_queue=2000, close_timeout=0)
    client.wait_ready(5)
    tracemalloc.start()
    for number in range(10_000):
        client.assign("rate-display", f"u-{{number}}")
        client.track("purchase", f"u-{{number}}")
    stats = client.stats()
    assert stats.pending + stats.dropped == 20_000, stats
    assert stats.pending <= 4000, stats
    assert set(stats.reasons) == {{"queue_full"}}, stats
    print(tracemalloc.get_traced_memory()[1] // 1024, threading.active_count() - 1)
    """
    ran = run(server, program)
    assert (ran.stderr, ran.returncode) == ("", 0)
    kilobytes, threads = map(int, ran.stdout.split())
    # 1200; 3500 if all 20,000 events waited.
    assert kilobytes < 2000
    assert threads == 3


@pytest.mark.parametrize("hangs", [False, True], ids=["a server that answers", "a server that hangs"])
def test_sigterm_that_ends_the_process_sends_what_waits_within_the_time_given(
    server: PlatformServer, hangs: bool
) -> None:
    if hangs:
        server.answers[CONVERSIONS] = server.answers[SNAPSHOT] = faults.hang
    program = """
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for number in range(1000):
        client.track("purchase", f"u-{number:04}")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
    """
    began = time.monotonic()
    assert run(server, program).returncode == 0
    # close_timeout is 2 seconds.
    assert time.monotonic() - began < 6
    assert hangs or arrived(server, CONVERSIONS) == [f"u-{number:04}" for number in range(1000)]


def test_events_are_sent_once_the_system_has_threads_again(
    server: PlatformServer, client: Client, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        client.assign("rate-display", "u-1")
        client.track("purchase", "u-1")
    assert client.stats().pending == 2
    client.assign("rate-display", "u-2")
    client.track("purchase", "u-2")
    eventually(lambda: client.stats().delivered == 4)


class TimeIsUp(Exception):
    """Raised by the signal handler of a product that gives each request so many seconds."""


def test_a_call_that_a_signal_handler_breaks_off_leaves_the_sender_awake(
    server: PlatformServer, client: Client, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = client._delivery.exposures._worker

    def raise_in_the_middle() -> None:
        raise TimeIsUp

    client.assign("rate-display", "u-1")
    eventually(lambda: client.stats().delivered == 1)
    time.sleep(0.1)  # the sender falls asleep
    with monkeypatch.context() as interrupted:
        interrupted.setattr(worker, "wake", raise_in_the_middle)
        client.assign("rate-display", "u-2")
    client.assign("rate-display", "u-3")
    eventually(lambda: client.stats().delivered == 3)


def test_an_event_that_cannot_be_encoded_does_not_stop_those_behind_it(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    times = [time.time(), 1e30, float("nan"), time.time()]
    kind = type("ClientWithBrokenClock", (Client,), {"_clock": staticmethod(lambda: times.pop(0))})
    client = make_client(kind=kind, flush_interval=60.0)
    client.wait_ready(5)
    for unit in ("u-1", "u-2", "u-3", "u-4"):
        client.assign("rate-display", unit)
    assert client.flush(5).delivered == 2
    assert arrived(server, EXPOSURES) == ["u-1", "u-4"]
    assert client.stats().reasons == {"error": 2}


def test_an_id_that_the_server_would_refuse_does_not_spoil_its_batch(server: PlatformServer, client: Client) -> None:
    for number in range(50):
        client.assign("rate-display", f"u-{number}")
        client.assign("rate-display", f"a\0{number}")
    assert client.flush(5).delivered == 50
    assert client.stats().reasons == {"invalid_unit": 50}


def test_reasons_of_the_server_cannot_crowd_out_those_of_the_client(server: PlatformServer, client: Client) -> None:
    def reject(handler: faults.Handler) -> None:
        rejected = [{"index": place, "code": f"CODE_{place}"} for place in range(len(handler.request_read.events))]
        handler.reply(202, json.dumps({"accepted": 0, "rejected": rejected}).encode())

    server.answers[CONVERSIONS] = reject
    for number in range(300):
        client.track("purchase", f"u-{number}")
    assert client.flush(5).rejected == 300
    client.track("purchase", "")
    stats = client.stats()
    assert len(stats.reasons) <= 66
    assert stats.reasons["invalid_unit"] == 1
    assert (stats.rejected, stats.dropped, sum(stats.reasons.values())) == (300, 1, 301)


class BrokenHandler(logging.Handler):
    """A log handler that raises, as one may whose disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left on device")


def test_a_log_handler_that_raises_ends_neither_polling_nor_delivery(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    handler = BrokenHandler()
    logging.getLogger("abplatform_sdk").addHandler(handler)
    try:
        for path in (SNAPSHOT, CONVERSIONS):
            server.answers[path] = faults.problem(500)
        client.track("purchase", "u-1")
        client.track("purchase", "")
        eventually(lambda: client.stats().poll_failures > 1 and server.sent(CONVERSIONS))
        server.answers.clear()
        server.snapshot = snapshot(8)
        eventually(lambda: client.stats().snapshot_version == 8 and client.stats().delivered == 1)
        server.stop()
        client.track("purchase", "u-2")
        assert client.close(0).dropped == 1
    finally:
        logging.getLogger("abplatform_sdk").removeHandler(handler)


def test_a_listener_that_wants_to_exit_does_not_end_the_polling(
    server: PlatformServer, client: Client, eventually: Callable[..., None]
) -> None:
    client.add_snapshot_listener(lambda _: sys.exit(3))
    for version in (8, 9):
        server.snapshot = snapshot(version)
        client._polling.wake()
        eventually(lambda version=version: client.stats().snapshot_version == version)


def test_a_child_forked_while_the_client_closes_counts_what_it_drops(server: PlatformServer) -> None:
    program = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    client.wait_ready(5)
    client._closed = True  # as another thread has just begun to do
    if os.fork() == 0:
        assert not client.track("purchase", "u-1")
        assert dict(client.stats().reasons) == {"closed": 1}
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    client._closed = False
    """
    ran = run(server, program)
    assert (ran.stderr, ran.returncode) == ("", 0)


@given(
    st.one_of(st.text(), st.from_regex(r"-?\d{1,400}(\.\d+)?"), st.datetimes().map("{:%a, %d %b %Y %H:%M:%S}".format))
)
def test_whatever_stands_in_retry_after_is_a_time_from_0_to_60_seconds(header: str) -> None:
    assert 0 <= _retry_after(header) <= 60
