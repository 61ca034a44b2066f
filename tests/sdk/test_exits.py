"""Many clients in one process end together, within the time of one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from tests.sdk import server as faults
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY, SNAPSHOT, PlatformServer
from tests.sdk.snapshots import snapshot
from tests.sdk.test_process import SDK, units

# What the end of an interpreter takes beside `close_timeout`, on a busy machine.
GRACE = 0.8
CLIENTS = 5


@pytest.fixture
def hanging() -> Iterator[PlatformServer]:
    """A platform that takes connections and never answers."""
    platform = PlatformServer(snapshot())
    for path in (SNAPSHOT, EXPOSURES, CONVERSIONS):
        platform.answers[path] = faults.hang
    yield platform
    platform.stop()


def seconds_to_end(program: str) -> float:
    """Run it; gives the seconds from the end of its last line to the end of the process."""
    prelude = f"""
    import atexit, multiprocessing, signal, sys, threading, time
    from abplatform_sdk import Client

    def make(url, close_timeout=1.0):
        return Client(url, {KEY!r}, cache_dir=None, flush_interval=60.0, close_timeout=close_timeout)
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(program) + "\nprint(time.time(), flush=True)\n"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", source],
        env=os.environ | {"PYTHONPATH": str(SDK)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ended = time.time()
    assert (ran.returncode, ran.stderr) == (0, "")
    return ended - float(ran.stdout)


def test_five_clients_of_a_server_that_hangs_end_within_one_close_timeout(hanging: PlatformServer) -> None:
    program = f"""
    clients = [make({hanging.url!r}) for _ in range({CLIENTS})]
    for client in clients:
        client.track("purchase", "u-1")
        client.assign("rate-display", "u-1")
    time.sleep(0.2)
    """
    assert 0.9 <= seconds_to_end(program) < 1.0 + GRACE


def test_each_client_has_no_more_than_its_own_close_timeout(hanging: PlatformServer) -> None:
    program = f"""
    for client in [make({hanging.url!r}, close_timeout) for close_timeout in (0.0, 0.5, 0.0)]:
        client.track("purchase", "u-1")
    """
    assert 0.4 <= seconds_to_end(program) < 0.5 + GRACE


@pytest.mark.parametrize("answer", [faults.hang, faults.drip, faults.drip_body])
def test_a_client_without_threads_ends_within_its_time_whatever_the_server_does(
    hanging: PlatformServer, answer: faults.Answer
) -> None:
    hanging.answers[CONVERSIONS] = answer
    program = f"""
    threading.stack_size(1 << 46)
    make({hanging.url!r}).track("purchase", "u-1")
    """
    assert 0.9 <= seconds_to_end(program) < 1.0 + GRACE


def test_a_flush_that_waits_for_another_one_does_not_begin_its_time_anew(hanging: PlatformServer) -> None:
    program = f"""
    threading.stack_size(1 << 46)
    client = make({hanging.url!r})
    client.track("purchase", "u-1")
    busy = client._delivery.conversions._sender._busy
    busy.acquire()
    signal.signal(signal.SIGALRM, lambda *_: busy.release())
    signal.setitimer(signal.ITIMER_REAL, 0.8)
    """
    assert 0.9 <= seconds_to_end(program) < 1.0 + GRACE / 2


@pytest.mark.parametrize("threads", ["as usual", "none to be had"])
def test_clients_whose_server_answers_send_all_beside_others_that_wait_for_ever(
    server: PlatformServer, hanging: PlatformServer, threads: str
) -> None:
    # A stack larger than the address space: the system refuses the thread.
    limit = "" if threads == "as usual" else "threading.stack_size(1 << 46)"
    program = f"""
    {limit}
    for number in range({CLIENTS}):
        make({hanging.url!r}).track("purchase", "u-lost")
        make({server.url!r}).track("purchase", f"u-{{number}}")
    """
    assert seconds_to_end(program) < 1.0 + GRACE
    assert units(server) == [f"u-{number}" for number in range(CLIENTS)]


def test_a_client_that_fails_at_the_end_does_not_keep_the_others_open(server: PlatformServer) -> None:
    program = f"""
    class Broken(Client):
        def flush(self, timeout=None):
            raise RuntimeError("of the product")
        close = flush

    broken = Broken({server.url!r}, {KEY!r}, cache_dir=None)
    make({server.url!r}).track("purchase", "u-1")
    """
    assert seconds_to_end(program) < 1.0 + GRACE
    assert units(server) == ["u-1"]


def test_the_clients_of_a_multiprocessing_child_end_together_too(hanging: PlatformServer) -> None:
    program = f"""
    clients = [make({hanging.url!r}) for _ in range({CLIENTS})]

    def work():
        for client in clients:
            client.track("purchase", "u-1")

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    began = time.monotonic()
    child.join()
    assert 0.9 < time.monotonic() - began < 1.0 + {GRACE}, time.monotonic() - began
    """
    assert seconds_to_end(program) < GRACE


def test_a_multiprocessing_child_that_has_no_threads_sends_its_events_at_its_end(server: PlatformServer) -> None:
    program = f"""
    client = make({server.url!r})

    def work():
        threading.stack_size(1 << 46)
        for number in range(3):
            client.track("purchase", f"u-{{number}}")
        from multiprocessing.util import _finalizer_registry
        assert len(_finalizer_registry) == 1, _finalizer_registry

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0
    """
    seconds_to_end(program)
    assert units(server) == ["u-0", "u-1", "u-2"]
