"""What other processes do in tests: importable by name, as multiprocessing needs it."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from abplatform.database import open_database
from abplatform.services.seal import seal_project
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.seal import Sealer
from tests.builders import NOW, a_conversion_fact, an_exposure_fact
from tests.facts import keep


def several_processes(number: int) -> ProcessPoolExecutor:
    """A pool of fresh processes (not forks, which would share connections)."""
    return ProcessPoolExecutor(number, mp_context=get_context("spawn"))


def append_one(root: str, url: str, number: int) -> None:
    """Open a lake and append one exposure."""
    lake = Lake(root, url)
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact(str(number))]))
    lake.close()


def append_conversion(root: str, url: str, number: int) -> None:
    """Open a lake and append one conversion that names a unit of another type."""
    lake = Lake(root, url)
    fact = a_conversion_fact(f"new-{number}", units={"device_id": f"device-{number}"})
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [fact]))
    lake.close()


def seal_all(root: str, url: str, seed: int, leases: bool) -> int:
    """Deliver 100 events twice in an order of its own, sealing in between; with or without asking for the lease."""
    database, lake, rng = open_database(url), Lake(root, url), random.Random(seed)
    inbox, sealed = Inbox(database), 0
    facts = [an_exposure_fact(f"{number:03}") for number in range(100)] * 2
    rng.shuffle(facts)
    for start in range(0, len(facts), 20):
        keep(inbox, "default", "exposure", facts[start : start + 20], received_at=NOW)
        if leases:
            sealed += seal_project(database, lake, "default", now=NOW).sealed["exposure"]
        else:
            sealed += Sealer(database, lake, "default", "exposure").seal_next(up_to=10**6, now=NOW).sealed
    lake.close()
    database.dispose()
    return sealed


def run_until_killed(root: str, url: str, step: str) -> int:
    """Seal in a process that is killed (SIGKILL) when it reaches a step; gives its exit code."""
    process = get_context("spawn").Process(target=_seal_and_die, args=(root, url, step))
    process.start()
    process.join(timeout=60)
    code = process.exitcode
    process.close()
    return -1 if code is None else code


def _seal_and_die(root: str, url: str, step: str) -> None:
    def reached(here: str) -> None:
        if here == step:
            os.kill(os.getpid(), signal.SIGKILL)

    database, lake = open_database(url), Lake(root, url)
    Sealer(database, lake, "default", "exposure", reached=reached).seal_next(up_to=10**6, now=NOW)
