"""How many events a second one worker moves from the inbox into a lake that has a month of history.

``python -m benchmarks.sealing`` measures it alone, with sizes of your choice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from abplatform.bootstrap import Platform, build_platform, prepare_database
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.settings import Settings
from abplatform.warehouse.bulk import append_facts
from benchmarks.facts import (
    Integers,
    draw_people,
    exposures,
    microseconds,
    moments_of_day,
    random_ids,
    slices,
    time_ordered_ids,
)
from benchmarks.processes import peak_megabytes, tidy_up_when_told_to_end
from benchmarks.timing import Result

ROOT = Path(__file__).resolve().parent.parent
LEAST = 300_000
# One request in a hundred comes twice, as after an answer that was lost.
REPEATED = 100
_WRITERS = 16
_SPREAD_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything.

    Attributes:
        history: events of the month before.
        events: those that wait in the inbox.
        units: whom they are about.
        days: how long the month is.
    """

    history: int = 10_000_000
    events: int = 2_000_000
    units: int = 1_000_000
    days: int = 30


@dataclass(frozen=True, kw_only=True)
class Sealing:
    """What a worker did.

    Attributes:
        events: how many it took out of the inbox.
        seconds, cpu: time that passed, and that of the processor in all its threads.
        megabytes: its largest resident size.
        before: resident megabytes when it began: Python, Arrow, DuckDB and the catalog.
    """

    events: int
    seconds: float
    cpu: float
    megabytes: float
    before: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    def describe(self) -> str:
        """All figures on one line."""
        return (
            f"{self.rate:,.0f} events/s, {self.cpu / self.events * 1e6:.2f} us of CPU per event, "
            f"peak memory {self.megabytes:,.0f} MiB ({self.before:,.0f} before it began)"
        )


class Installation:
    """An embedded default in a folder, with a month of events under one kind of ids."""

    def __init__(self, home: Path, sizes: Sizes, *, time_ordered: bool) -> None:
        self._chance = np.random.default_rng(20261126)
        self._settings, self._sizes, self._time_ordered = Settings(home=home), sizes, time_ordered
        self._people = draw_people(sizes.units, self._chance)
        prepare_database(self._settings)
        with build_platform(self._settings) as platform:
            for ago in range(sizes.days, 0, -1):
                day = datetime.now(UTC).date() - timedelta(days=ago)
                when = moments_of_day(day, sizes.history // sizes.days, self._chance)
                self._chance.shuffle(when)
                # Sorting rows that are nearly in order costs the set-up less.
                append_facts(platform.lake, DEFAULT_PROJECT, "exposure", self._facts(when, np.sort(self._who(when))))

    def seal(self, batch: int) -> Sealing:
        """Fill the inbox with requests of that many events, have a worker empty it, and check what it did."""
        with build_platform(self._settings) as platform:
            repeated = self._fill(platform, batch)
            before = _rows(platform)
        command = [sys.executable, "-m", "benchmarks.sealing", "--work", str(self._settings.home)]
        answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        done = json.loads(answer)
        with build_platform(self._settings) as platform:
            added = _rows(platform) - before
        if (added, done.pop("duplicates")) != (self._sizes.events, repeated):
            raise RuntimeError(f"{self._sizes.events} events became {added} rows: {answer}")
        return Sealing(events=self._sizes.events + repeated, **done)

    def _fill(self, platform: Platform, batch: int) -> int:
        """Put events of the last minutes into the inbox; how many of them came twice."""
        now = microseconds(platform.now())
        when = np.sort(now - self._chance.integers(0, _SPREAD_SECONDS * 1_000_000, self._sizes.events))
        requests = list(slices(self._facts(when, self._who(when)), batch))
        repeated = requests[::REPEATED]

        def add(request: pa.Table) -> None:
            platform.inbox.add(DEFAULT_PROJECT, "exposure", request, received_at=platform.now())

        with ThreadPoolExecutor(_WRITERS) as threads:
            for _ in threads.map(add, requests + repeated):
                pass
        return sum(request.num_rows for request in repeated)

    def _who(self, when: Integers) -> Integers:
        return self._chance.integers(0, len(self._people), len(when))

    def _facts(self, when: Integers, who: Integers) -> pa.Table:
        ids = time_ordered_ids(when, self._chance) if self._time_ordered else random_ids(len(when), self._chance)
        return exposures("rate-display", self._people, who, when, ids)


def _rows(platform: Platform) -> int:
    return sum(file.rows for file in platform.lake.files(DEFAULT_PROJECT, "exposure"))


def run(sizes: Sizes = Sizes()) -> Iterator[Result]:
    """Seal requests of 100 and of 1,000 events with time-ordered ids, and with random ones for the record."""
    beside = f"beside a month of {sizes.history:,} events"
    with tempfile.TemporaryDirectory(prefix="abplatform-bench-") as home:
        installation = Installation(Path(home), sizes, time_ordered=True)
        for batch in (100, 1_000):
            sealing = installation.seal(batch)
            name = f"sealed by one worker, {batch} per request, UUIDv7, {beside}"
            yield Result(name, sealing.describe(), f"at least {LEAST:,} events/s", met=sealing.rate >= LEAST)
    with tempfile.TemporaryDirectory(prefix="abplatform-bench-") as home:
        sealing = Installation(Path(home), sizes, time_ordered=False).seal(100)
        name = f"sealed by one worker, 100 per request, UUIDv4, {beside}"
        yield Result(name, sealing.describe(), "none, for the record", met=True)


def work(home: Path) -> None:
    """Be the worker: seal everything in one go, and print what it took."""
    with build_platform(Settings(home=home)) as platform:
        platform.lake.files(DEFAULT_PROJECT, "exposure")
        before, start, cpu = peak_megabytes(os.getpid()), time.perf_counter(), time.process_time()
        report = platform.seal(DEFAULT_PROJECT)
        figures = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "megabytes": peak_megabytes(os.getpid()),
            "before": before,
            "duplicates": report.duplicates["exposure"],
        }
    print(json.dumps(figures))


def main() -> None:
    """Measure, or be the worker of a measurement."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealing", description=__doc__)
    parser.add_argument("--history", type=int, default=Sizes.history, help="events of the month before")
    parser.add_argument("--events", type=int, default=Sizes.events, help="events in the inbox")
    parser.add_argument("--work", type=Path, metavar="HOME", help="only seal what waits in this home")
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    for result in run(Sizes(history=arguments.history, events=arguments.events)):
        print(f"{result.name}: {result.figure}", flush=True)


if __name__ == "__main__":
    main()
