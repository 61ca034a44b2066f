"""What the results of an experiment cost: the engine beside SQL written by hand for the same answer, and on Spark.

``python -m benchmarks.results`` measures it alone, with sizes of your choice.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abplatform.domain.aggregates import KeptUnits
from abplatform.storage.documents import to_text
from abplatform.warehouse.engines import build_engine
from benchmarks.processes import tidy_up_when_told_to_end
from benchmarks.results_lake import DAYS, add_day, fill, keep
from benchmarks.timing import Result

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000)
ROUNDS = 5
MOST = 1.3
MOST_GROWTH = 1.5
MOST_MEGABYTES = 2048
CLOSE = 1e-12
# What comes between two looks, and how much of the time of reading everything the second one may take.
SHARE = 0.01
MOST_OF_ALL = 0.05

Numbers = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one way of computing said, and took.

    Attributes:
        seconds, cpu: time that passed, and that of the process's own threads.
        megabytes: largest resident size of the process so far.
        numbers: lists of exact numbers and doubles, by what they are about.
    """

    seconds: float
    cpu: float
    megabytes: float
    numbers: Numbers


class Worker:
    """A process that computes one way; use as a context manager."""

    def __init__(self, folder: Path, way: str) -> None:
        command = [sys.executable, "-m", "benchmarks.results_worker", str(folder), way]
        self._way = way
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait(60)
            self._process.stdout.close()

    def ask(self, events: int, days: int = DAYS, kept: KeptUnits | None = None) -> Answer:
        """Have the experiment of so many events computed, after so many days."""
        if self._process.stdin is None:
            raise RuntimeError(f"{self._way} has no pipes")
        self._process.stdin.write(f"{events} {days}{'' if kept is None else ' ' + to_text(kept)}\n")
        self._process.stdin.flush()
        return Answer(**self._read())

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{self._way} ended before it answered; its error stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run(sizes: Sequence[int] = SIZES) -> Iterator[Result]:
    """Fill a lake, compare on the largest experiment, and look at how the cost grows."""
    with tempfile.TemporaryDirectory(prefix="abplatform-bench-") as name:
        folder = Path(name)
        fill(folder, sizes)
        yield from _against_hand(folder, sizes[-1])
        yield _growth(folder, sizes)
        yield _spark(folder, sizes[-1])
        yield from _refresh(folder, sizes[-1])


def _against_hand(folder: Path, events: int) -> Iterator[Result]:
    answers: dict[str, list[Answer]] = {"engine": [], "hand": []}
    with ExitStack() as stack:
        workers = {way: stack.enter_context(Worker(folder, way)) for way in answers}
        for _ in range(ROUNDS):
            for way, worker in workers.items():
                answers[way].append(worker.ask(events))
    check_equal(answers["engine"][-1].numbers, answers["hand"][-1].numbers)
    seconds, cpu = ({way: _median(each, name) for way, each in answers.items()} for name in ("seconds", "cpu"))
    ratio = seconds["engine"] / seconds["hand"]
    figure = f"{ratio:.2f}x {_times('engine', 'hand', seconds, cpu)}"
    name = f"results of {events:,} events, three metrics, against SQL by hand"
    yield Result(name, figure, f"at most {MOST}x", met=ratio <= MOST)
    peaks = {way: each[-1].megabytes for way, each in answers.items()}
    figure = f"{peaks['engine']:,.0f} MiB, {peaks['hand']:,.0f} MiB by hand"
    yield Result(
        "peak memory of the process", figure, f"at most {MOST_MEGABYTES:,} MiB", peaks["engine"] <= MOST_MEGABYTES
    )


def _growth(folder: Path, sizes: Sequence[int]) -> Result:
    with Worker(folder, "engine") as worker:
        worker.ask(sizes[0])
        rounds = [[worker.ask(events).seconds for events in sizes] for _ in range(3)]
    costs = [
        statistics.median(seconds) / events * 1e6
        for events, seconds in zip(sizes, zip(*rounds, strict=True), strict=True)
    ]
    growth = costs[-1] / min(costs)
    each = ", ".join(f"{cost:.3f} at {events:,}" for events, cost in zip(sizes, costs, strict=True))
    figure = f"{growth:.2f}x of the cheapest at the largest; us per event: {each}"
    return Result("cost of an event as experiments grow", figure, f"at most {MOST_GROWTH}x", met=growth <= MOST_GROWTH)


def _spark(folder: Path, events: int) -> Result:
    with Worker(folder, "spark") as spark, Worker(folder, "engine") as engine:
        first, second, ours = spark.ask(events), spark.ask(events), engine.ask(events)
    check_equal(second.numbers, ours.numbers)
    figure = (
        f"equal numbers; {second.seconds:.1f} s, {second.seconds / ours.seconds:.1f}x of DuckDB "
        f"({first.seconds:.1f} s the first time, with its start)"
    )
    return Result(f"the same {events:,} events on Spark, local[2]", figure, "equal numbers", met=True)


def _refresh(folder: Path, events: int) -> Iterator[Result]:
    start = time.perf_counter()
    kept = keep(folder, events, build_engine("duckdb://"))
    seconds = time.perf_counter() - start
    added = add_day(folder, events, SHARE)
    answers: dict[str, list[Answer]] = {"all": [], "new": []}
    with Worker(folder, "engine") as everything, Worker(folder, "engine") as new:
        for _ in range(ROUNDS):
            answers["all"].append(everything.ask(events, DAYS + 1))
            answers["new"].append(new.ask(events, DAYS + 1, kept))
    check_equal(answers["new"][-1].numbers, answers["all"][-1].numbers)
    took, cpu = ({way: _median(each, name) for way, each in answers.items()} for name in ("seconds", "cpu"))
    ratio = took["new"] / took["all"]
    figure = f"{ratio:.1%} {_times('new', 'all', took, cpu)}"
    name = f"a look after {added:,} more events that goes on, against one that reads all"
    yield Result(name, figure, f"at most {MOST_OF_ALL:.0%}", met=ratio <= MOST_OF_ALL)
    sizes = [path.stat().st_size for path in Path(kept.folder.removeprefix("file://")).rglob("*.parquet")]
    figure = f"{seconds:.1f} s, {sum(sizes) / 2**20:,.0f} MiB"
    yield Result("keeping what is known of each unit, in the worker", figure, "none, for the record", met=True)


def check_equal(ours: Numbers, theirs: Numbers) -> None:
    """Fail unless exact numbers are equal and doubles agree to 12 digits."""
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"{sorted(ours)} against {sorted(theirs)}")
    for name, values in ours.items():
        for mine, other in zip(values, theirs[name], strict=True):
            equal = math.isclose(mine, other, rel_tol=CLOSE) if isinstance(mine, float) else mine == other
            if not equal:
                raise RuntimeError(f"{name}: {values} against {theirs[name]}")


def _times(ours: str, theirs: str, seconds: Mapping[str, float], cpu: Mapping[str, float]) -> str:
    times = (f"{each[ours]:.2f} against {each[theirs]:.2f} s" for each in (seconds, cpu))
    return f"({'; CPU '.join(times)}), equal numbers"


def _median(answers: Sequence[Answer], name: str) -> float:
    # The first round warms up.
    return statistics.median(getattr(answer, name) for answer in answers[1:])


def main() -> None:
    """Measure, and print each figure."""
    tidy_up_when_told_to_end()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of events, the largest last")
    for result in run(parser.parse_args().sizes):
        print(f"{'ok  ' if result.met else 'MISS'}  {result.name}: {result.figure}; goal: {result.goal}", flush=True)


if __name__ == "__main__":
    main()
