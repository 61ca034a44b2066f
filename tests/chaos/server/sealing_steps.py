"""The worker is killed between each pair of sealing steps under load, on both databases."""

from __future__ import annotations

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
FEWEST_STEPS = 4
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
        with (
            a_scene(address) as (installation, ledger),
            sending(installation.port, installation.key, ledger, senders=2, largest=100) as load,
        ):
            for _ in range(rounds):
                number = 0
                while step := _die(installation, number, Path(folder) / "step"):
                    died.append(step)
                    accounts.append(compare(installation, ledger, complete=False))
                    progress(f"{database}: worker killed when {step}: {accounts[-1]}")
                    number += 1
            installation.start()
            load.finish()
            last = compare(installation, ledger, complete=True)
    steps = dict.fromkeys(died)
    what = f"{database}, worker killed {len(died)} times under load, after {', '.join(steps)}"
    wrong = [str(each) for each in accounts if not each.sound]
    yield Row("D-1", f"{what}: after each 0 lost, 0 counted twice", str(wrong or accounts[-1]), not wrong)
    asked = f"{database}, the worker dies at {FEWEST_STEPS} steps of sealing or more, {rounds} times each"
    yield Row("D-1", asked, str(len(steps)), len(steps) >= FEWEST_STEPS and len(died) == rounds * len(steps))
    yield from rows("D-2", what, last, ledger)


def _die(installation: Installation, number: int, note: Path) -> str:
    """Run a worker that dies at a step in place of the present one; the step's name, or "" if there are not so many."""
    if installation.has("worker"):
        installation.kill("worker")
    note.unlink(missing_ok=True)
    command = (sys.executable, "-m", "tests.chaos.server.dying_worker", str(number), str(note))
    installation.start_process("worker", *command)
    deadline = time.monotonic() + _PATIENCE
    while installation.running("worker"):
        if time.monotonic() > deadline:
            raise RuntimeError("the worker neither dies nor ends")
        time.sleep(0.02)
    installation.kill("worker")
    return note.read_text() if note.exists() else ""
