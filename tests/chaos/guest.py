"""The process of a product, and what the SDK costs it. Run by `Guest`; figures go out as lines of JSON."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from abplatform_sdk import Client

from tests.sdk.server import KEY

ROOT = Path(__file__).resolve().parents[2]
UNITS = [f"known-{number}" for number in range(500)]
CALLS = 2000


class Guest:
    """A fresh process that plays one of the scenes of this module."""

    def __init__(self, scene: str, **arguments: Any) -> None:
        command = [sys.executable, "-m", "tests.chaos.guest", scene, json.dumps(arguments)]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}", "HOME": "/nonexistent"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._process.wait(60) and kind is None:
            raise RuntimeError("the product's process failed; its error stands above")

    def hear(self) -> dict[str, Any]:
        """Its next figures."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("the product's process ended early; its error stands above")
        figures: dict[str, Any] = json.loads(line)
        return figures

    def go_on(self) -> None:
        """Let it go on."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()


def peak_megabytes() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():  # what `getrusage` gives here may be the peak of the process that started this one
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def percentile99(nanoseconds: list[int]) -> float:
    """In microseconds."""
    return sorted(nanoseconds)[len(nanoseconds) * 99 // 100] / 1000


def _tell(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)
    sys.stdin.readline()


def _time_calls(call: Callable[[str], object], units: list[str]) -> list[int]:
    spent = []
    clock = time.perf_counter_ns
    for unit in units:
        began = clock()
        call(unit)
        spent.append(clock() - began)
    return spent


def under_a_fault(*, url: str, cache: str | None, seconds: float) -> None:
    """Work before, under and after a fault; under it, start and close a second client, too."""
    before, began = peak_megabytes(), time.perf_counter()
    warm = Client(url, KEY, cache_dir=cache)
    warm.assign("rate-display", None)
    init = time.perf_counter() - began
    warm.wait_ready(5 if cache is None else 0.2)
    known = [warm.evaluate("rate-display", unit) for unit in UNITS]
    _tell(assigned=sum(decision.in_experiment for decision in known))
    figures = _work(warm, seconds)
    changed = sum(warm.evaluate("rate-display", unit) != decision for unit, decision in zip(UNITS, known, strict=True))
    began = time.perf_counter()
    cold = Client(url, KEY, cache_dir=None)
    answer = cold.assign("rate-display", "cold", default="mine")
    init = max(init, time.perf_counter() - began)
    cold.track("purchase", "cold")
    cold.wait_ready(0.1)
    threads = threading.active_count() - 1
    began = time.perf_counter()
    cold.close()
    close = time.perf_counter() - began
    _tell(
        **figures | {"threads": max(threads, figures["threads"])},
        init=init,
        close=close,
        changed=changed,
        default=answer.payload == "mine" and not answer.in_experiment,
    )
    began = time.perf_counter()
    warm.flush(10) if cache is None else None
    flushed = time.perf_counter() - began
    began = time.perf_counter()
    warm.close()
    close = time.perf_counter() - began
    stats = warm.stats()
    _tell(
        close=close,
        flushed=flushed,
        memory=peak_megabytes() - before,
        produced=stats.produced,
        delivered=stats.delivered,
        dropped=stats.dropped,
        errors=stats.evaluation_errors,
    )


def _work(client: Client, seconds: float) -> dict[str, Any]:
    """Requests for so many seconds, each of a new unit; gives medians over rounds of the 99th percentiles."""
    assigns, tracks, number, threads = [], [], 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        units = [f"u-{unit}" for unit in range(number, number + CALLS)]
        assigns.append(percentile99(_time_calls(lambda unit: client.assign("rate-display", unit), units)))
        tracks.append(percentile99(_time_calls(lambda unit: client.track("purchase", unit), units)))
        threads = max(threads, threading.active_count() - 1)
        number += CALLS
        time.sleep(0.05)  # the product does other things too, and the SDK's threads come to work
    return {
        "assign": statistics.median(assigns),
        "track": statistics.median(tracks),
        "threads": threads,
        "calls": 2 * number,
    }


def a_million(*, url: str, calls: int) -> None:
    """Expose a million units, and track as many events, while the server is down."""
    client = Client(url, KEY, cache_dir=None)
    client.wait_ready(5)
    client.assign("rate-display", "u-0")
    client.flush(5)
    _tell()
    before = peak_megabytes()
    figures: dict[str, Any] = {}
    scenes = {"assign": lambda unit: client.assign("rate-display", unit), "track": lambda u: client.track("a", u)}
    for name, call in scenes.items():
        began = time.perf_counter()
        figures[name] = statistics.median(
            percentile99(_time_calls(call, [f"{name}-{start + each}" for each in range(10_000)]))
            for start in range(0, calls, 10_000)
        )
        figures[f"{name}_mean"] = (time.perf_counter() - began) / calls * 1e6
    stats = client.stats()
    _tell(**figures, memory=peak_megabytes() - before, waiting=stats.pending)
    client.flush(30)
    stats = client.stats()
    _tell(produced=stats.produced, delivered=stats.delivered, dropped=stats.dropped, reasons=dict(stats.reasons))
    client.close()


SCENES: dict[str, Callable[..., None]] = {"under_a_fault": under_a_fault, "a_million": a_million}

if __name__ == "__main__":
    SCENES[sys.argv[1]](**json.loads(sys.argv[2]))
