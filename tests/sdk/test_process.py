"""The client as a guest of whole processes: import, fork, exit. Each test runs real programs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.sdk import server as faults
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY, PlatformServer

SDK = Path(__file__).parents[2] / "sdk"
PRELUDE = """
import logging, os, sys, threading, time
from abplatform_sdk import Client
client = Client({url!r}, {key!r}, cache_dir=None, poll_interval=0.05, flush_interval={flush_interval},
                connect_timeout=0.5, read_timeout=5.0, close_timeout=2.0)
"""


def run(server: PlatformServer, program: str, *, flush_interval: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a program that has a client; events wait 30 seconds unless something sends them earlier."""
    prelude = PRELUDE.format(url=server.url, key=KEY, flush_interval=flush_interval)
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", prelude + textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": str(SDK)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def units(server: PlatformServer, path: str = CONVERSIONS) -> list[str]:
    return sorted(event["unit_id"] for request in server.sent(path) for event in request.events)


def test_importing_the_package_does_not_load_its_transport() -> None:
    program = "import sys, abplatform_sdk; print('urllib3' in sys.modules, 'http.client' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(SDK)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["False", "False"]


def test_making_a_client_starts_no_thread_and_loads_no_transport(server: PlatformServer) -> None:
    ran = run(server, "print(threading.active_count(), 'urllib3' in sys.modules)")
    assert (ran.stdout.split(), ran.stderr, ran.returncode) == (["1", "False"], "", 0)


@pytest.mark.parametrize(
    ("ending", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("raise RuntimeError('of the product')", 1)],
    ids=["return", "sys.exit", "exception"],
)
def test_what_waits_is_sent_at_the_end_of_the_interpreter(server: PlatformServer, ending: str, status: int) -> None:
    program = f"""
    for number in range(1000):
        client.track("purchase", f"u-{{number:04}}")
    {ending}
    """
    ran = run(server, program)
    assert ran.returncode == status
    assert ("of the product" in ran.stderr) == (status == 1)
    assert units(server) == [f"u-{number:04}" for number in range(1000)]


def test_an_event_from_another_exit_handler_is_sent(server: PlatformServer) -> None:
    # Registered after the client, so run before it; by then Python 3.12 starts no threads any more.
    program = """
    import atexit
    atexit.register(client.track, "purchase", "u-last")
    """
    ran = run(server, program)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert units(server) == ["u-last"]


def test_events_are_sent_at_the_end_even_if_no_thread_can_be_started(server: PlatformServer) -> None:
    # A stack larger than the address space: the system refuses the thread.
    program = """
    threading.stack_size(1 << 46)
    for number in range(3):
        assert client.track("purchase", f"u-{number}")
    assert client.assign("rate-display", "u-1").reason == "NOT_READY"
    assert threading.active_count() == 1
    """
    ran = run(server, program)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert units(server) == ["u-0", "u-1", "u-2"]


def test_a_hanging_server_does_not_hold_up_the_end_of_the_interpreter(server: PlatformServer) -> None:
    server.answers[CONVERSIONS] = faults.hang
    server.answers[faults.SNAPSHOT] = faults.hang
    began = time.monotonic()
    program = """
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
    client.assign("rate-display", "u-1")
    client.track("purchase", "u-1")
    time.sleep(0.2)
    """
    ran = run(server, program)
    assert ran.returncode == 0
    # close_timeout is 2 seconds, starting and ending Python the rest.
    assert time.monotonic() - began < 6
    assert ran.stderr == "abplatform_sdk WARNING closed, events dropped so far: {'undelivered': 1}\n"


def test_a_forked_child_sends_its_own_events_once_and_not_those_of_the_parent(server: PlatformServer) -> None:
    program = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: fork with threads
    client.wait_ready(5)
    client.track("purchase", "parent-before")
    client.assign("rate-display", "u-1")
    child = os.fork()
    if child == 0:
        assert client.stats().produced == 0
        assert client.evaluate("rate-display", "u-1").reason == "ASSIGNED"
        client.track("purchase", "child")
        client.assign("rate-display", "u-2")
        print(client.stats().pending, flush=True)
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.track("purchase", "parent-after")
    """
    ran = run(server, program)
    assert (ran.stdout.strip(), ran.stderr, ran.returncode) == ("2", "", 0)
    assert units(server) == ["child", "parent-after", "parent-before"]
    assert units(server, EXPOSURES) == ["u-1", "u-2"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_child_sends_its_events_at_its_end(
    server: PlatformServer, method: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE.format(url=server.url, key=KEY, flush_interval=30.0)
        + textwrap.dedent(
            f"""
            import multiprocessing

            def work(name):
                for number in range(10):
                    client.track("purchase", f"{{name}}-{{number}}")

            if __name__ == "__main__":
                context = multiprocessing.get_context({method!r})
                children = [context.Process(target=work, args=(name,)) for name in "abc"]
                for child in children:
                    child.start()
                for child in children:
                    child.join()
                assert [child.exitcode for child in children] == [0, 0, 0]
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": str(SDK)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert units(server) == sorted(f"{name}-{number}" for name in "abc" for number in range(10))


def test_many_forks_under_load_never_lock_up(server: PlatformServer) -> None:
    # The first forks fall into the import of urllib3 by the parent's threads.
    program = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    stop = threading.Event()

    def load():
        number = 0
        while not stop.is_set():
            number += 1
            client.assign("rate-display", f"u-{number}")
            client.track("noise", "n-1")
            time.sleep(0.0005)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(40):
        child = os.fork()
        if child == 0:
            client.track("purchase", f"child-{number:02}")
            os._exit(0 if client.flush(20).delivered == 1 else 1)
        children.append(child)
        time.sleep(0.005)
    results = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    for thread in threads:
        thread.join()
    assert results == [0] * 40, results
    """
    ran = run(server, program, flush_interval=0.05)
    assert ran.returncode == 0, ran.stderr
    sent = [event for request in server.sent(CONVERSIONS) for event in request.events]
    purchases = sorted(event["unit_id"] for event in sent if event["event"] == "purchase")
    assert purchases == [f"child-{number:02}" for number in range(40)]
    assert len({event["event_id"] for event in sent}) == len(sent)


def fork_while_held(server: PlatformServer, lock: str, *, closed: bool) -> subprocess.CompletedProcess[str]:
    """Fork while another thread holds a lock; the child tracks an event, and ends with its exit handlers."""
    program = f"""
    import signal, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    client.wait_ready(5)
    if {closed}:
        client.close()
    lock = {lock}
    taken, over = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            over.wait()

    threading.Thread(target=hold).start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        client.track("purchase", "child")
        sys.exit(7)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    assert status == 7, status
    """
    return run(server, program)


def test_a_child_that_was_forked_while_a_thread_took_a_connection_ends(server: PlatformServer) -> None:
    # At the end of the interpreter urllib3 closes all pools, and each asks for the lock of its queue.
    ran = fork_while_held(server, "client._connection.open()._pool.pool.mutex", closed=False)
    assert ran.returncode == 0, ran.stderr
    assert units(server) == ["child"]


def test_a_closed_client_holds_no_lock_in_a_forked_child(server: PlatformServer) -> None:
    ran = fork_while_held(server, "client._delivery.conversions.buffer._changed", closed=True)
    assert ran.returncode == 0, ran.stderr
