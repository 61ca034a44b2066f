"""S-12: a parent with busy threads forks two hundred times."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from tests.chaos.guest import ROOT
from tests.chaos.remote import Remote
from tests.chaos.row import Row, progress
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY
from tests.sdk.snapshots import snapshot

CHILDREN = 200
# A child answers 0 if it decided as the parent did, saw a later snapshot, and brought its own two events away.
PROGRAM = """
import os, signal, sys, threading, time, warnings
from abplatform_sdk import Client
warnings.simplefilter("ignore", DeprecationWarning)
client = Client({url!r}, {key!r}, cache_dir=None, poll_interval=0.2, flush_interval=0.05, close_timeout=5.0)
client.wait_ready(5)
units = [f"u-{{number}}" for number in range(200)]
known = [client.evaluate("rate-display", unit) for unit in units]
over = threading.Event()
calls = [0] * 4

def load(name):
    number = 0
    while not over.is_set():
        number += 1
        client.assign("rate-display", f"parent-{{name}}-{{number}}")
        client.track("noise", f"parent-{{name}}-{{number}}")
        calls[name] += 2
        client.stats()
        time.sleep(0.001)

def live(number):
    signal.alarm(60)
    if [client.evaluate("rate-display", unit) for unit in units] != known:
        return 2
    client.assign("rate-display", f"child-{{number}}")
    client.track("purchase", f"child-{{number}}")
    end, version = time.monotonic() + 30, client.stats().snapshot_version
    while client.stats().snapshot_version == version:
        if time.monotonic() > end:
            return 3
        time.sleep(0.02)
    result = client.close()
    stats = client.stats()
    return 0 if (stats.delivered, stats.dropped, stats.pending) == (2, 0, 0) else 4

threads = [threading.Thread(target=load, args=(name,), daemon=True) for name in range(4)]
for thread in threads:
    thread.start()
children, codes = set(), []

def reap(most):
    while len(children) > most:
        child, status = os.wait()
        children.discard(child)
        codes.append(os.waitstatus_to_exitcode(status))

print("ready", flush=True)
for number in range({children}):
    child = os.fork()
    if child == 0:
        code = 5
        try:
            code = live(number)
        finally:
            os._exit(code)
    children.add(child)
    reap(7)
reap(0)
over.set()
for thread in threads:
    thread.join()
client.flush(20)
stats = client.stats()
print({{code: codes.count(code) for code in set(codes)}}, stats.delivered == sum(calls), flush=True)
"""


def measure() -> Iterator[Row]:
    """Fork under load, publish meanwhile."""
    with Remote() as remote:
        progress(f"{CHILDREN} forks")
        program = PROGRAM.format(url=remote.url, key=KEY, children=CHILDREN)
        environment = {"PYTHONPATH": str(ROOT / "sdk"), "HOME": "/nonexistent"}
        ran = subprocess.Popen(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if ran.stdout is None or not ran.stdout.readline():
            raise RuntimeError("the parent did not begin")
        version = 7
        while ran.poll() is None:
            version += 1
            remote.ask("publish", snapshot(version))
            time.sleep(0.3)
        said, errors = ran.communicate()
        arrived = {path: remote.ask("units", path) for path in (EXPOSURES, CONVERSIONS)}
    of_children = {
        path: {unit: count for unit, count in units.items() if unit.startswith("child-")}
        for path, units in arrived.items()
    }
    once = all(len(units) == CHILDREN and set(units.values()) == {1} for units in of_children.values())
    twice = sum(count > 1 for units in arrived.values() for count in units.values())
    holds = said.strip() == f"{{0: {CHILDREN}}} True" and once and twice == 0 and not errors
    measured = f"exit codes and parent's account {said.strip()}, {twice} events twice {errors[-200:]}"
    asked = f"{CHILDREN} forks under load: same decisions, later snapshots seen, events once, no deadlock"
    yield Row("S-12", asked, measured, holds)
