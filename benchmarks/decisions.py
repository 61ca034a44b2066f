"""What a decision costs: our SDK beside those of the field and a bare loop over SHA-256, on the same work.

Each SDK works in a process of its own, with the interpreter of one environment that has them all; the processes take
turns, on units that they have not seen, and medians of the rounds are compared.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.timing import Result

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(sys.prefix, "sdk-peers", "bin", "python")
ROUNDS = 100
NAMES = {
    "bare": "a bare SHA-256 loop",
    "ours": "abplatform-sdk",
    "eppo": "eppo-server-sdk (Rust)",
    "statsig": "statsig-python-core (Rust)",
    "growthbook": "growthbook",
    "launchdarkly": "launchdarkly-server-sdk",
    "flagsmith": "flagsmith",
    "unleash": "UnleashClient (Rust, by way of JSON)",
    "openfeature": "openfeature-sdk, in-memory provider",
    "openfeature_ours": "openfeature-sdk, our provider",
}
WORKS = {
    "evaluate": "a decision",
    "assign": "a decision with its exposure queued",
    "many": "one of 500 decisions for one user",
}
MOST = {"evaluate": 2.2, "assign": 2.4, "many": 1.6}
SLOWER = ("growthbook", "launchdarkly", "flagsmith", "unleash")
LEAST = 5.0
MOST_MICROSECONDS = 2.0

Seconds = Mapping[str, Mapping[str, float]]


class Worker:
    """The process of one SDK."""

    def __init__(self, name: str) -> None:
        command = [str(PEERS), "-W", "ignore", "-m", "benchmarks.sdk_peers", name]
        self._name = name
        # A session of its own: some peers leave processes behind.
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._read()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        status = self._process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        if status and kind is None:
            raise RuntimeError(f"{self._name} no longer does the work; its error stands above")

    def time(self, work: str, round_number: int) -> dict[str, float]:
        """Let it work; gives the seconds of one decision, and the exposures queued for it."""
        if self._process.stdin is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(f"{work} {round_number}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{self._name} ended before it answered; its error stands above")
        answer: dict[str, float] = json.loads(line)
        return answer


def measure() -> tuple[Seconds, Mapping[str, float]]:
    """Median seconds of a decision by work and peer, and the exposures queued per decision by peer.

    The first round warms up and is thrown away.
    """
    seconds: dict[str, dict[str, list[float]]] = {work: defaultdict(list) for work in WORKS}
    exposures: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name)) for name in NAMES}
        for round_number in range(ROUNDS + 1):
            for work in WORKS:
                for name, worker in workers.items():
                    answer = worker.time(work, round_number)
                    seconds[work][name].append(answer["seconds"])
                    if work == "assign":
                        exposures[name].append(answer["exposures"])
    medians = {
        work: {name: statistics.median(values[1:]) for name, values in peers.items()} for work, peers in seconds.items()
    }
    return medians, {name: statistics.fmean(values) for name, values in exposures.items()}


def run() -> Iterator[Result]:
    """Time all, and compare."""
    if not PEERS.exists():
        raise FileNotFoundError(f"{PEERS} is missing: run `make bench`, which installs the packages to compare with")
    seconds, exposures = measure()
    if exposures["ours"] != 1:
        raise RuntimeError(f"{exposures['ours']} exposures were queued for a decision")
    for work in WORKS:
        yield _against_bare(work, seconds[work])
    for work in ("evaluate", "assign"):
        for name in SLOWER:
            yield _faster(work, name, seconds[work], exposures)
    yield _no_slower("eppo", seconds["assign"])
    for work in ("evaluate", "assign"):
        yield _provider(work, seconds[work])
    for work, text in WORKS.items():
        yield Result(f"{text}, all peers", _table(seconds[work]), "none, for the record", met=True)


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us"


def _against_bare(work: str, seconds: Mapping[str, float]) -> Result:
    ours, bare = seconds["ours"], seconds["bare"]
    figure = f"{ours / bare:.2f}x ({_micro(ours)} against {_micro(bare)})"
    most = MOST[work]
    return Result(f"{WORKS[work]} against {NAMES['bare']}", figure, f"at most {most}x", met=ours <= most * bare)


def _faster(work: str, name: str, seconds: Mapping[str, float], exposures: Mapping[str, float]) -> Result:
    ours, theirs = seconds["ours"], seconds[name]
    figure = f"{theirs / ours:.1f}x faster ({_micro(ours)} against {_micro(theirs)})"
    if work == "assign" and exposures[name] < 1:
        figure += f", {1 - exposures[name]:.1%} of their exposures were lost"
    goal = f"at least {LEAST:g}x"
    return Result(f"{WORKS[work]} against {NAMES[name]}", figure, goal, met=theirs >= LEAST * ours)


def _no_slower(name: str, seconds: Mapping[str, float]) -> Result:
    ours, theirs = seconds["ours"], seconds[name]
    figure = f"{_micro(ours)} against {_micro(theirs)}"
    return Result(f"{WORKS['assign']} against {NAMES[name]}", figure, "no slower", met=ours <= theirs)


def _provider(work: str, seconds: Mapping[str, float]) -> Result:
    title = f"{WORKS[work]} through OpenFeature against its in-memory provider"
    goal = f"at most {MOST_MICROSECONDS:g} us more"
    ours, theirs = seconds["openfeature_ours"], seconds["openfeature"]
    more = (ours - theirs) * 1e6
    figure = f"{more:+.2f} us ({_micro(ours)} against {_micro(theirs)})"
    return Result(title, figure, goal, met=more <= MOST_MICROSECONDS)


def _table(seconds: Mapping[str, float]) -> str:
    return "; ".join(f"{NAMES[name]} {_micro(value)}" for name, value in sorted(seconds.items(), key=_by_value))


def _by_value(item: tuple[str, float]) -> float:
    return item[1]
