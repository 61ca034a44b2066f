"""D-1, D-2, D-3: the API, the worker and both are killed (SIGKILL) again and again under load."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

from tests.chaos.row import Row, progress
from tests.chaos.server.installation import Part, Start
from tests.chaos.server.load import SENDERS, sending
from tests.chaos.server.scene import DATABASES, a_database, a_scene, compare, rows

KILLS = 51
MOST_SECONDS = 10
_PARTS: tuple[Part, ...] = ("api", "worker", "both")


def measure() -> Iterator[Row]:
    """Kill them on both databases."""
    for database in DATABASES:
        yield from kill_often(database, kills=KILLS)


def kill_often(database: str, *, kills: int) -> Iterator[Row]:
    """Kill one part after the other under load, and start it again."""
    chance, starts, ended = random.Random(1), list[Start](), Counter[Part]()
    with a_database(database) as url, a_scene(url) as (installation, ledger):
        with sending(installation.port, installation.key, ledger) as load:
            for number in range(kills):
                load.acknowledge_some()
                time.sleep(chance.uniform(0.0, 1.0))
                part, began = _PARTS[number % len(_PARTS)], time.monotonic()
                # What hangs on a killed part ends or replaces it by itself: until then nothing can take its place.
                ended[part] += installation.kill(part) > 0
                over = time.monotonic() - began
                start = installation.start()
                load.count_anew()
                starts.append(start._replace(seconds=over + start.seconds))
                times = f"over after {over:.2f} s, ready after {starts[-1].seconds:.2f} s"
                progress(f"{database}: kill {number + 1} of {kills}, of {part}, {times}, {ledger.total():,} events")
            load.acknowledge_some()
            load.hold()
            before = compare(installation, ledger, complete=False)
            load.finish()
        after = compare(installation, ledger, complete=True)
    what = f"{database}, {kills} kills of API, worker and both, {SENDERS} senders"
    planned = Counter(_PARTS[number % len(_PARTS)] for number in range(kills))
    yield Row("D-1", f"{what}: each part was running and is dead", _describe(ended), ended == planned)
    yield Row("D-1", f"{what}: acknowledged events lost 0, counted twice 0", str(before), before.sound)
    yield from rows("D-2", f"{what}, then all delivered again", after, load, faults=kills, others=[before])
    yield starting(f"{what}: after each", starts)


def _describe(ended: Counter[Part]) -> str:
    return ", ".join(f"{part} {count} times" for part, count in ended.items())


def starting(what: str, starts: list[Start]) -> Row:
    """The row about the time that starts took."""
    seconds, cpu = sorted(start.seconds for start in starts), sorted(start.cpu for start in starts)
    middle = len(starts) // 2
    measured = f"at most {seconds[-1]:.2f} s, median {seconds[middle]:.2f} s; {cpu[middle]:.2f} s of the processors"
    return Row("D-3", f"{what} ready within {MOST_SECONDS} s, without repair", measured, seconds[-1] <= MOST_SECONDS)
