"""The client in processes that do jobs: Celery, pools, hundreds of forks, and programs that are told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from abplatform_sdk import Client

from tests.sdk.hosted import BIN, ROOT, hosting
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY, PlatformServer

PRELUDE = """
import os, signal, sys, threading, time, warnings
from abplatform_sdk import Client
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: a fork beside threads
client = Client({url!r}, {key!r}, cache_dir=None, poll_interval=0.05, flush_interval={flush_interval},
                close_timeout=5.0)
"""


def write_program(folder: Path, server: PlatformServer, program: str, *, flush_interval: float = 60.0) -> list[str]:
    """A program that has a client; events wait for its end unless something sends them earlier."""
    path = folder / "program.py"
    prelude = PRELUDE.format(url=server.url, key=KEY, flush_interval=flush_interval)
    path.write_text(prelude + textwrap.dedent(program))
    return [sys.executable, "-W", "error", str(path)]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "sdk")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def sent_units(server: PlatformServer, path: str) -> list[str]:
    sent = [event for request in server.sent(path) for event in request.events]
    assert len({event["event_id"] for event in sent}) == len(sent), "an event was sent twice"
    return sorted(event["unit_id"] for event in sent)


def test_the_processes_of_a_celery_worker_decide_and_send_when_it_is_told_to_stop(
    server: PlatformServer, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    worker = [str(BIN / "celery"), "-A", "tests.sdk.hosted_tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "warning"]
    units = [f"u-{number}" for number in range(40)]
    settings = {"HOSTED_FOLDER": str(tmp_path)}
    with hosting([*worker, *quiet], server.url, listens=False, **settings) as host:
        with hosting(
            [sys.executable, "-m", "tests.sdk.hosted_tasks", *units], server.url, listens=False, **settings
        ) as web:
            assert web.process.wait(60) == 0, "".join(web.printed + host.printed)
        assert (server.sent(EXPOSURES), server.sent(CONVERSIONS)) == ([], [])
        host.process.send_signal(signal.SIGTERM)
        # Celery itself takes some seconds more to end.
        eventually(lambda: len(sent_units(server, EXPOSURES)) == len(sent_units(server, CONVERSIONS)) == len(units))
    answers = [line.split() for line in web.printed]
    assert len({pid for pid, _ in answers}) == 2
    evaluator = Client.from_snapshot(server.snapshot)
    assert [variant for _, variant in answers] == [evaluator.evaluate("rate-display", unit).variant for unit in units]
    evaluator.close(0)
    assert sent_units(server, EXPOSURES) == sent_units(server, CONVERSIONS) == sorted(units)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_processes_of_pools_send_their_events_at_their_end(
    server: PlatformServer, tmp_path: Path, method: str
) -> None:
    program = f"""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    def work(name):
        client.wait_ready(5)
        client.track("purchase", name)
        return client.assign("rate-display", name).variant

    if __name__ == "__main__":
        client.track("purchase", "parent")
        client.wait_ready(5)
        context = multiprocessing.get_context({method!r})
        pool = context.Pool(2)
        in_pool = pool.map(work, [f"pool-{{number}}" for number in range(20)], chunksize=1)
        pool.close()
        pool.join()
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            in_executor = list(executor.map(work, [f"executor-{{number}}" for number in range(20)]))
        for name, variants in (("pool", in_pool), ("executor", in_executor)):
            here = [client.evaluate("rate-display", f"{{name}}-{{number}}").variant for number in range(20)]
            assert variants == here, (variants, here)
    """
    ran = run(write_program(tmp_path, server, program))
    assert (ran.returncode, ran.stderr) == (0, "")
    children = [f"{name}-{number}" for name in ("pool", "executor") for number in range(20)]
    assert sent_units(server, EXPOSURES) == sorted(children)
    assert sent_units(server, CONVERSIONS) == sorted([*children, "parent"])


@pytest.mark.parametrize(
    ("told", "status"),
    [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT), (signal.SIGHUP, 1)],
    ids=["sys.exit", "KeyboardInterrupt", "exception"],
)
def test_a_signal_that_ends_the_program_by_its_handler_loses_nothing(
    server: PlatformServer, tmp_path: Path, told: signal.Signals, status: int
) -> None:
    program = """
    def fail(*_):
        raise RuntimeError("of the product")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, fail)
    client.wait_ready(5)
    for number in range(1000):
        client.track("purchase", f"u-{number}")
    print("ready", flush=True)
    threading.Event().wait(60)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT / "sdk")}
    with subprocess.Popen(
        write_program(tmp_path, server, program),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(told)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == status, errors
    assert len(sent_units(server, CONVERSIONS)) == 1000


def test_two_hundred_forks_under_load_decide_alike_and_account_for_every_event(
    server: PlatformServer, tmp_path: Path
) -> None:
    # Children print what they delivered in one write each, which a pipe keeps whole.
    program = """
    client.wait_ready(5)
    units = [f"u-{number}" for number in range(100)]
    expected = [client.evaluate("rate-display", unit).variant for unit in units]
    stop = threading.Event()
    made = {}

    def load(name):
        number = 0
        while not stop.is_set():
            number += 1
            client.assign("rate-display", f"load-{name}-{number}")
            client.track("noise", f"load-{name}")
            made[name] = 2 * number
            time.sleep(0.0005)

    def check(child):
        assert [client.evaluate("rate-display", unit).variant for unit in units] == expected
        for number in range(3):
            client.assign("rate-display", f"child-{child}-{number}")
            client.track("purchase", f"child-{child}-{number}")
        client.close(20)
        stats = client.stats()
        assert (stats.delivered, stats.dropped, stats.pending) == (6, 0, 0), stats

    threads = [threading.Thread(target=load, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    running, failed = set(), []

    def reap():
        child, status = os.wait()
        running.discard(child)
        if status:
            failed.append(status)

    for number in range(200):
        if len(running) == 8:
            reap()
        child = os.fork()
        if child == 0:
            try:
                check(number)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)
        running.add(child)
    while running:
        reap()
    stop.set()
    for thread in threads:
        thread.join()
    client.close(20)
    stats = client.stats()
    assert failed == [], failed
    assert stats.delivered + stats.dropped == sum(made.values()), (stats, made)
    print(stats.delivered)
    """
    ran = run(write_program(tmp_path, server, program, flush_interval=0.05))
    assert (ran.returncode, ran.stderr) == (0, "")
    exposures, conversions = sent_units(server, EXPOSURES), sent_units(server, CONVERSIONS)
    children = sorted(f"child-{child}-{number}" for child in range(200) for number in range(3))
    assert [unit for unit in exposures if unit.startswith("child-")] == children
    assert [unit for unit in conversions if unit.startswith("child-")] == children
    assert len(exposures) + len(conversions) == int(ran.stdout) + 2 * len(children)
    assert max(Counter(exposures).values()) == 1, "each unit is exposed once"
