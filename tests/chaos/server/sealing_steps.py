"""The worker is killed between each pair of sealing steps under load, on both databases."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.row import Row, progress
from tests.chaos.server.installation import Installation
from tests.chaos.server.load import sending
from tests.chaos.server.scene import DATABASES, Account, a_database, a_scene, compare, rows

ROUNDS = 3
# What `dying_worker` is told of, in order: all that sealing does, and the moments just before and after both commits.
STEPS = ("claiming", "claimed", "deduplicated", "written", "committed", "deleting", "finished")
# No worker takes so long.
_PATIENCE = 120


def measure() -> Iterator[Row]:
    """Kill it at each step."""
    for database in DATABASES:
        yield from kill_at_each_step(database, rounds=ROUNDS)


def kill_at_each_step(database: str, *, rounds: int) -> Iterator[Row]:
    """Kill the worker at the first step, the second, ...; each time the platform goes on with what it left."""
    died, accounts = list[str](), list[Account]()
    with tempfile.TemporaryDirectory() as folder, a_database(database) as url:
        # Not the embedded default: its worker is part of the server.
        address = url or f"sqlite:///{folder}/platform.db"
        with a_scene(address) as (installation, ledger):
            with sending(installation.port, installation.key, ledger, senders=2, largest=100) as load:
                for step in STEPS * rounds:
                    load.acknowledge_some()
                    died.append(_die(installation, step, Path(folder) / "step"))
                    accounts.append(compare(installation, ledger, complete=False))
                    load.count_anew()
                    progress(f"{database}: worker killed when {died[-1] or 'NOTHING'}: {accounts[-1]}")
                load.acknowledge_some()
                installation.start()
                load.finish()
            last = compare(installation, ledger, complete=True)
    what = f"{database}, worker killed at each of {len(STEPS)} steps of sealing, {rounds} times"
    wrong = [str(each) for each in accounts if not each.sound]
    yield Row("D-1", f"{what}: after each 0 lost, 0 counted twice", str(wrong or accounts[-1]), not wrong)
    yield Row("D-1", f"{what}: it died at {', '.join(STEPS)}", ", ".join(died), died == list(STEPS * rounds))
    kills = len(died)
    yield from rows("D-2", f"{what} under load", last, load, faults=kills, others=accounts, retried=False)


def _die(installation: Installation, step: str, note: Path) -> str:
    """Run a worker that dies at a step in place of the present one; the step's name, or "" if it did not."""
    if installation.has("worker"):
        installation.kill("worker")
    note.unlink(missing_ok=True)
    command = (sys.executable, "-m", "tests.chaos.server.dying_worker", step, str(note))
    worker = installation.start_process("worker", *command)
    deadline = time.monotonic() + _PATIENCE
    while installation.running("worker"):
        if time.monotonic() > deadline:
            raise RuntimeError("the worker neither dies nor ends")
        time.sleep(0.02)
    code = worker.returncode
    installation.kill("worker")
    return note.read_text() if code == -signal.SIGKILL and note.exists() else ""
