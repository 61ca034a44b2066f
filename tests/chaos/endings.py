"""S-10 and S-11: the end of a process, with a server that answers and with one that hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.chaos.guest import ROOT
from tests.chaos.remote import Remote
from tests.chaos.row import Row, progress
from tests.sdk.server import CONVERSIONS, KEY

PROGRAM = """
import signal, sys, time
from abplatform_sdk import Client
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
client = Client({url!r}, {key!r}, cache_dir=None)
client.wait_ready(0.5)
for number in range(1000):
    client.track("purchase", f"u-{{number}}")
{end}
"""
ENDINGS = {
    "return": "",
    "sys.exit": "sys.exit(0)",
    "uncaught exception": "raise RuntimeError('of the product')",
    "SIGTERM": "print('ready', flush=True)\ntime.sleep(60)",
}


def measure() -> Iterator[Row]:
    """End processes in every way."""
    with Remote() as remote:
        for hangs in (False, True):
            if hangs:
                remote.ask("fault", "hang")
            for name, end in ENDINGS.items():
                progress(f"{name}, the server {'hangs' if hangs else 'answers'}")
                seconds = _end(remote, end)
                arrived = len(remote.ask("units", CONVERSIONS))
                remote.ask("forget")
                if hangs:
                    yield Row("S-11", f"{name}, server hangs: over within 8 s", f"{seconds:.1f} s", seconds < 8)
                else:
                    measured = f"{arrived} in {seconds:.1f} s"
                    yield Row("S-10", f"{name}: 1000 of 1000 events arrive", measured, arrived == 1000)


def _end(remote: Remote, end: str) -> float:
    program = PROGRAM.format(url=remote.url, key=KEY, end=end)
    environment = {"PYTHONPATH": str(ROOT / "sdk"), "HOME": "/nonexistent"}
    ran = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    began = time.monotonic()
    if ran.stdout is not None and ran.stdout.readline():
        ran.send_signal(signal.SIGTERM)
    ran.communicate(timeout=60)
    return time.monotonic() - began
