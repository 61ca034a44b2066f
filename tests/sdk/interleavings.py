"""Two pieces of work in every order: a race is found by trying the order, not by luck.

As threads, one stops before one of its steps, the other runs, and then both end. As a signal handler, the second runs
inside the first, before one of its steps. A step is one instruction of the interpreter, finer than the places where
CPython switches threads or runs handlers.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from typing import Any, NamedTuple

_FAR = 1_000_000
# Who makes no step for so many seconds waits for a lock that the other one holds.
_PATIENCE = 0.002


class Scene(NamedTuple):
    """What is to be tried, made anew for each order of steps.

    Attributes:
        first, second: run in a thread each; what they raise fails the test.
        check: asserts what holds after both.
    """

    first: Callable[[], object]
    second: Callable[[], object]
    check: Callable[[], object]


def try_all_orders(make: Callable[[], Scene], *, samples: int = 300) -> int:
    """Stop the first at each of its steps, the second not at all; then the other way round; then both, by lot.

    Args:
        samples: how many orders with two stops are drawn, from a fixed seed.

    Returns:
        How many orders were tried.
    """
    steps = _play(make(), _FAR, _FAR)
    orders = list(_orders(*steps, samples=samples))
    for order in orders:
        try:
            _play(make(), *order)
        except AssertionError as error:
            raise AssertionError(f"stops before the steps {order} of {steps}: {error}") from error
    return len(orders)


def interrupt_everywhere(make: Callable[[], Scene]) -> int:
    """Run the second inside the first, as a signal handler would, before each step of the first.

    Returns:
        How many places were tried.
    """
    steps = _interrupt(make(), _FAR)
    for step in range(1, steps + 1):
        try:
            _interrupt(make(), step)
        except AssertionError as error:
            raise AssertionError(f"a handler before the step {step} of {steps}: {error}") from error
    return steps


def _interrupt(scene: Scene, step: int) -> int:
    player = _Player(scene.first, step, at_stop=scene.second)
    player.begin()
    player.end()
    if step == _FAR:
        scene.second()
    scene.check()
    return player.steps


def _orders(first: int, second: int, *, samples: int) -> Iterator[tuple[int, int]]:
    yield from ((stop, _FAR) for stop in range(1, first + 1))
    yield from ((_FAR, stop) for stop in range(1, second + 1))
    draw = random.Random(20)
    for _ in range(samples):
        yield draw.randint(1, first), draw.randint(1, second)


def _play(scene: Scene, first_stop: int, second_stop: int) -> tuple[int, int]:
    """Play one order; gives how many steps each piece of work has."""
    # Where only the second stops, it has to come first.
    swapped = first_stop == _FAR and second_stop != _FAR
    first, second = _Player(scene.first, first_stop), _Player(scene.second, second_stop)
    one, other = (second, first) if swapped else (first, second)
    one.begin()
    other.begin()
    one.go_on()
    other.end()
    one.end()
    scene.check()
    return first.steps, second.steps


class _Player:
    """A thread that runs a piece of work and stops, or does something else, before one of its steps."""

    def __init__(self, work: Callable[[], object], stop: int, at_stop: Callable[[], object] | None = None) -> None:
        self.steps = 0
        self._work = work
        self._stop = stop
        self._at_stop = at_stop or self._wait
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._go_on = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Run up to the stop, to the end, or to a lock that the other one holds."""
        self._thread.start()
        self._await(self._stopped)

    def go_on(self) -> None:
        """Run on to the end, or to a lock that the other one holds."""
        self._go_on.set()
        self._await(self._ended)

    def end(self) -> None:
        """Run on to the end."""
        self._go_on.set()
        assert self._ended.wait(10), "locked up"
        self._thread.join()
        if self._error is not None:
            raise AssertionError(f"raised {self._error!r}") from self._error

    def _await(self, event: threading.Event) -> None:
        seen = -1
        while not event.wait(_PATIENCE) and self.steps != seen:
            seen = self.steps

    def _run(self) -> None:
        sys.settrace(self._trace)
        try:
            self._work()
        except BaseException as error:
            self._error = error
        finally:
            sys.settrace(None)
            self._stopped.set()
            self._ended.set()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not _is_watched(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            self.steps += 1
            if self.steps == self._stop:
                self._at_stop()
        return self._step

    def _wait(self) -> None:
        self._stopped.set()
        self._go_on.wait(10)


@cache
def _is_watched(file: str) -> bool:
    """The SDK without its evaluator, which keeps nothing; and the locks of the standard library."""
    return file == threading.__file__ or ("abplatform_sdk" in file and "_assignment" not in file)
