"""D-4: the power is cut under load; only what was fsynced survives (embedded default)."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.row import Row, progress
from tests.chaos.server.disk import Disk, a_disk
from tests.chaos.server.installation import Installation, Start
from tests.chaos.server.kills import starting
from tests.chaos.server.ledger import Ledger
from tests.chaos.server.load import sending
from tests.chaos.server.scene import Account, compare, define, rows

CUTS = 12


def measure() -> Iterator[Row]:
    """Cut the power, and prove that the cut would be noticed."""
    yield from cut_often(CUTS)
    yield from cut_after_the_first_start()
    yield check_the_journal()
    yield cut_without_syncs()


@contextmanager
def on_a_disk(*, made_before: bool = True, **settings: str) -> Iterator[tuple[Disk, Installation, Ledger]]:
    """A running platform on a disk that is watched; its first start is part of what is watched, or was before."""
    folder = Path(tempfile.mkdtemp(prefix="abplatform-chaos-"))
    home = folder / "disk" / "home"
    try:
        with (
            a_disk(home.parent) as disk,
            Installation(home, log=folder / "log", extra=disk.environment | settings) as installation,
        ):
            installation.make()
            if made_before:
                disk.settle()
            installation.start()
            yield disk, installation, define(installation)
    finally:
        shutil.rmtree(folder)


def cut_often(cuts: int) -> Iterator[Row]:
    """Cut the power at random moments under load; every other time parts of what was not synced survive too."""
    chance, accounts, starts = random.Random(4), list[Account](), list[Start]()
    with on_a_disk() as (disk, installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            for number in range(cuts):
                load.acknowledge_some()
                time.sleep(chance.uniform(0.3, 2.0))
                _cut(disk, installation, torn=number if number % 2 else None)
                load.hold()
                starts.append(installation.start())
                accounts.append(compare(installation, ledger, complete=False))
                progress(f"cut {number + 1} of {cuts}, ready after {starts[-1].seconds:.2f} s: {accounts[-1]}")
                load.count_anew()
            load.acknowledge_some()
            load.finish()
        last = compare(installation, ledger, complete=True)
    wrong = [str(each) for each in accounts if not each.sound]
    what = f"sqlite, {cuts} power cuts under load"
    yield Row("D-4", f"{what}: after each 0 lost, 0 counted twice", str(wrong or accounts[-1]), not wrong)
    yield from rows("D-4", f"{what}, then all delivered again", last, load, faults=cuts, others=accounts)
    yield starting(f"{what}: after each", starts)


def cut_after_the_first_start() -> Iterator[Row]:
    """A new installation, folder and key included, is on the disk with its first acknowledged event."""
    asked = "sqlite, a power cut right after the first start"
    with on_a_disk(made_before=False) as (disk, installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            load.acknowledge_some()
            _cut(disk, installation, torn=None)
            load.hold()
            if not installation.home.exists():
                yield Row("D-4", f"{asked}: 0 lost", "the folder is gone: its name was never synced", holds=False)
                return
            installation.start()
            account = compare(installation, ledger, complete=False)
            load.count_anew()
            load.acknowledge_some()
            load.finish()
        last = compare(installation, ledger, complete=True)
    yield Row("D-4", f"{asked}: 0 lost", str(account), account.sound)
    yield from rows("D-4", f"{asked}, then all delivered again", last, load, faults=1, others=[account])


def check_the_journal() -> Row:
    """All bytes on the disk must be known to the journal, else a cut could not be computed from it."""
    with on_a_disk() as (disk, installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            load.acknowledge_some()
            time.sleep(2)
            load.finish()
        installation.stop()
        unexplained = disk.unexplained()
    asked = "the simulated disk knows every byte that the processes wrote"
    return Row("D-4", asked, f"not known: {unexplained or 'none'}", not unexplained)


def cut_without_syncs() -> Row:
    """The check of the check: when SQLite's log is not synced at commits, a cut must lose acknowledged events."""
    # Nothing is sealed and no more is sent than fits in the log: a checkpoint would sync it.
    with on_a_disk(ABPLATFORM_SEAL_INTERVAL="3600") as (disk, installation, ledger):
        disk.switch("wal_not_synced", on=True)
        with sending(installation.port, installation.key, ledger, senders=2, largest=20) as load:
            load.acknowledge_some()
            _cut(disk, installation, torn=None)
            load.hold()
            installation.start()
            account = compare(installation, ledger, complete=False)
    asked = "the same with commits that are not synced, as under synchronous=NORMAL: the loss is seen"
    return Row("D-4", asked, str(account), account.lost > 0)


def _cut(disk: Disk, installation: Installation, *, torn: int | None) -> None:
    installation.kill("both")
    disk.cut_power(torn=torn)
