"""How many events a second are acknowledged, at which latency, and at what cost: the real server, all checks on.

``python -m benchmarks.ingest`` measures one case, and says more about it than ``make bench`` does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

from abplatform.domain.events import EventKind
from benchmarks.event_load.fingerprints import join
from benchmarks.event_load.orders import Order, Report, Target
from benchmarks.event_load.peers import ROOT, open_bare
from benchmarks.event_load.scene import Stored, open_scene
from benchmarks.processes import tidy_up_when_told_to_end
from benchmarks.timing import Result

WORKERS = 2
UNITS = 1_000_000
SECONDS = 5.0
WARM_UP_SECONDS = 1.0
LEAST = {100: 150_000, 1_000: 450_000}
MOST_P99 = 0.1
KINDS: dict[str, Sequence[EventKind]] = {
    "exposure": ("exposure",),
    "conversion": ("conversion",),
    "both": ("exposure", "conversion"),
}


class Server(Protocol):
    """What takes events and can be asked what it cost."""

    host: str
    port: int
    key: str
    salt: str

    def cpu(self) -> float:
        """Seconds of the processor so far."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured.

    Attributes:
        mix: a key of `KINDS`.
        sealing: whether the worker seals meanwhile, as it does by default.
    """

    database: str = "sqlite"
    batch: int = 100
    mix: str = "exposure"
    sealing: bool = True
    seconds: float = SECONDS
    workers: int = WORKERS
    units: int = UNITS

    @property
    def goal(self) -> float | None:
        """Events per second that are asked for; None for sizes of requests for which there is no goal."""
        least = LEAST.get(self.batch)
        return None if least is None else least / (1 if self.database == "sqlite" else 2)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of load, and what the server took of the processor for it."""

    report: Report
    cpu: float

    @property
    def rate(self) -> float:
        """Acknowledged events per second."""
        return self.report.acknowledged / self.report.elapsed

    @property
    def cost(self) -> float:
        """Microseconds of the server's processor time per event."""
        return self.cpu / max(self.report.acknowledged, 1) * 1e6

    def describe(self) -> str:
        """All figures on one line."""
        quantiles = ", ".join(f"{name} {value * 1e3:.1f}" for name, value in self.report.latencies.items())
        statuses = ", ".join(f"{amount} x {status}" for status, amount in sorted(self.report.statuses.items()))
        return (
            f"{self.rate:,.0f} events/s; ms: {quantiles}; {statuses}, {self.report.unanswered} without an answer; "
            f"server {self.cost:.2f} us of CPU per event ({self.cpu:.1f} s), generator {self.report.cpu:.1f} s "
            f"in {self.report.elapsed:.1f} s"
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A case measured.

    Attributes:
        closed: 8 connections, each busy all the time.
        half: requests due at half of the rate that is asked for (or reached, for other sizes), whatever the answers do.
        acknowledged: all events that were, warming up included.
        fingerprint: of their ids.
        stored: what was found when the server had been killed.
    """

    closed: Stretch
    half: Stretch
    acknowledged: int
    fingerprint: int
    stored: Stored

    def check(self) -> None:
        """Fail the benchmark where events were lost or refused, or came twice."""
        found = self.stored.lake + self.stored.inbox
        if found != self.acknowledged:
            raise RuntimeError(f"{self.acknowledged} events were acknowledged and {found} stored")
        if self.stored.fingerprint != self.fingerprint:
            raise RuntimeError("the events that were acknowledged are not those that are stored")
        for stretch in (self.closed, self.half):
            report = stretch.report
            if set(report.statuses) != {"202"} or report.unanswered or report.answered != report.acknowledged:
                raise RuntimeError(f"not all events were accepted: {stretch.describe()}")

    @property
    def behind(self) -> float:
        """Share of the acknowledged events that had not been sealed in the end."""
        return self.stored.inbox / self.acknowledged


class Generator:
    """The process that sends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.acknowledged = self.fingerprint = 0

    def ask(self, text: str) -> str:
        """Write a line, and read the answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the generator has no pipes")
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the generator ended before it answered; its error stands above")
        return answer

    def load(self, server: Server, order: Order) -> Stretch:
        """Have a stretch of load sent."""
        before = server.cpu()
        report = Report(**json.loads(self.ask(json.dumps(asdict(order)))))
        self.acknowledged += report.acknowledged
        self.fingerprint = join(self.fingerprint, report.fingerprint)
        return Stretch(report=report, cpu=server.cpu() - before)


@contextmanager
def generating(server: Server, case: Case) -> Iterator[Generator]:
    """A generator whose requests for a server are ready, and that has warmed it up."""
    target = Target(
        host=server.host,
        port=server.port,
        key=server.key,
        salt=server.salt,
        batch=case.batch,
        kinds=KINDS[case.mix],
        units=case.units,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.event_load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            generator = Generator(process)
            generator.ask(json.dumps(asdict(target)))
            generator.load(server, Order(seconds=min(WARM_UP_SECONDS, case.seconds)))
            yield generator
        finally:
            process.kill()


def measure(case: Case) -> Outcome:
    """Measure a case on the real server; the server is killed in the end, and what it stored is counted."""
    with open_scene(case.database, workers=case.workers, sealing=case.sealing) as scene:
        with generating(scene, case) as generator:
            closed = generator.load(scene, Order(seconds=case.seconds))
            rate = (case.goal or closed.rate) / 2
            half = generator.load(scene, Order(seconds=case.seconds, rate=rate / case.batch))
        scene.kill()
        outcome = Outcome(
            closed=closed,
            half=half,
            acknowledged=generator.acknowledged,
            fingerprint=generator.fingerprint,
            stored=scene.stored(),
        )
    outcome.check()
    return outcome


def measure_bare(form: str, case: Case) -> Stretch:
    """Measure a bare server on the same requests."""
    with open_bare(form, workers=case.workers) as server:
        with generating(server, case) as generator:
            stretch = generator.load(server, Order(seconds=case.seconds))
        if server.stored() != generator.acknowledged:
            raise RuntimeError(f"{generator.acknowledged} events were acknowledged and {server.stored()} stored")
    return stretch


def run() -> Iterator[Result]:
    """Both databases and sizes of batches against the goals; a bare server and one row per event beside them."""
    for batch in LEAST:
        bare = measure_bare("batches", Case(batch=batch))
        for database in ("sqlite", "postgresql"):
            # The bare server of this design keeps its rows in SQLite.
            yield from compare(Case(database=database, batch=batch), bare if database == "sqlite" else None)
        unsealed = measure(Case(batch=batch, sealing=False))
        yield Result(
            f"the same on SQLite, {batch} per request, while nothing is sealed", *_for_the_record(unsealed.closed)
        )
    for mix in ("conversion", "both"):
        yield Result(f"events acknowledged on SQLite, {mix}", *_for_the_record(measure(Case(mix=mix)).closed))
    for form, name in (("rows", "one row per event in SQLite"), ("copy", "one row per event by COPY in PostgreSQL")):
        stretch = measure_bare(form, Case(seconds=2))
        yield Result(f"bare server, {name}, 100 per request", *_for_the_record(stretch))


def compare(case: Case, bare: Stretch | None) -> Iterator[Result]:
    """A case against its goals."""
    outcome = measure(case)
    least = case.goal or 0.0
    closed, name = outcome.closed, f"{case.database}, {case.batch} per request"
    cost = f"{closed.cost:.2f} us of CPU per event; {outcome.behind:.0%} not sealed in the end"
    figure = f"{closed.rate:,.0f} events/s, {cost}"
    if bare is not None:
        figure += f"; {closed.rate / bare.rate:.2f}x of a bare server ({bare.rate:,.0f} events/s, {bare.cost:.2f} us)"
    yield Result(f"events acknowledged, {name}", figure, f"at least {least:,.0f}", met=closed.rate >= least)
    p99 = outcome.half.report.latencies["p99"]
    name = f"latency at half of the load that is asked for, {name}"
    figure = f"p99 {p99 * 1e3:.1f} ms at {outcome.half.rate:,.0f} events/s"
    yield Result(name, figure, f"under {MOST_P99 * 1e3:.0f} ms", met=p99 < MOST_P99)


def _for_the_record(stretch: Stretch) -> tuple[str, str, bool]:
    return f"{stretch.rate:,.0f} events/s, {stretch.cost:.2f} us of CPU per event", "none, for the record", True


def main() -> None:
    """Measure one case, with all its figures."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--batch", type=int, default=100, help="events per request, up to 1000")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each stretch of load")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=WORKERS, help="server processes")
    parser.add_argument("--mix", choices=tuple(KINDS), default="exposure")
    parser.add_argument("--no-sealing", dest="sealing", action="store_false", help="have nothing sealed meanwhile")
    parser.add_argument("--bare", action="store_true", help="measure the bare server of the same design, too")
    arguments = vars(parser.parse_args())
    with_bare = arguments.pop("bare")
    case = Case(**arguments)
    if with_bare:
        print("bare server:", measure_bare("batches", case).describe())
    outcome = measure(case)
    print("8 busy connections:", outcome.closed.describe())
    print("half of the goal:", outcome.half.describe())
    print(f"{outcome.acknowledged:,} acknowledged and stored; {outcome.behind:.0%} of them not sealed in the end")


if __name__ == "__main__":
    main()
