"""The SDK may be asked from a signal handler, which runs in the main thread at any moment, locks held or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import signal, sys, time
from abplatform_sdk import Client

client = Client("http://127.0.0.1:9", api_key="none", cache_dir=None, connect_timeout=0.2)
asked = made = 0

def handle(*_):
    global asked
    asked += 1
    client.track("alarm", "u-1")
    client.stats()

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 3
while time.monotonic() < end:
    client.track("purchase", "u-1")
    made += 1
    client.stats()
signal.setitimer(signal.ITIMER_REAL, 0)
stats = client.stats()
assert asked > 100, asked
assert asked + made == stats.delivered + stats.rejected + stats.dropped + stats.pending, (asked, made, stats)
print("alive")
client.close(timeout=0.5)
"""


def test_the_sdk_may_be_asked_inside_a_signal_handler() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": str(root / "sdk"), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
