"""Two pieces of work in every order: a race is found by trying the order, not by luck.

As threads, one stops before one of its steps, the other runs, and then both end. A step is one instruction of the
interpreter that reaches beyond the function's own variables, finer than the places where CPython switches threads. As a
signal handler, the second runs inside the first, at each place where CPython runs handlers: where a function begins,
after a call, and where a loop goes round.
"""

from __future__ import annotations

import dis
import os
import random
import sys
import threading
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

_ALL = os.environ.get("ALL_ORDERS") == "1"
_FAR = 1_000_000
_REACHES = (
    "LOAD_ATTR",
    "STORE_ATTR",
    "LOAD_METHOD",
    "CALL",
    "BEFORE_WITH",
    "BINARY_SUBSCR",
    "STORE_SUBSCR",
    "FOR_ITER",
)
_LOOKS = ("RESUME", "PRECALL", "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
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


def try_orders(make: Callable[[], Scene]) -> int:
    """Stop the first before each of its steps, the second not at all; then the other way round; then both, by lot.

    At most 150 orders of each kind with one stop and 40 with two are drawn, from a fixed seed; with ``ALL_ORDERS=1``
    in the environment all with one stop and 1500 with two.

    Returns:
        How many orders were tried.
    """
    first, second = _play(make(), _FAR, _FAR)
    draw = random.Random(20)
    orders = [(stop, _FAR) for stop in _some(first, draw)] + [(_FAR, stop) for stop in _some(second, draw)]
    orders += [(draw.randint(1, first), draw.randint(1, second)) for _ in range(1500 if _ALL else 40)]
    for order in orders:
        try:
            _play(make(), *order)
        except AssertionError as error:
            raise AssertionError(f"stops before the steps {order} of {first, second}: {error}") from error
    return len(orders)


def _some(steps: int, draw: random.Random) -> list[int]:
    stops = range(1, steps + 1)
    return [*stops] if _ALL else draw.sample(stops, min(steps, 150))


def interrupt_everywhere(make: Callable[[], Scene]) -> int:
    """Run the second inside the first, as a signal handler would, at each place of the first where handlers run.

    Returns:
        How many places were tried.
    """
    steps = _interrupt(make(), _FAR)
    for step in range(1, steps + 1):
        try:
            _interrupt(make(), step)
        except AssertionError as error:
            raise AssertionError(f"a handler at the place {step} of {steps}: {error}") from error
    return steps


def _interrupt(scene: Scene, step: int) -> int:
    player = _Interrupted(scene.first, step, at_stop=scene.second)
    player.begin()
    player.end()
    if step == _FAR:
        scene.second()
    scene.check()
    return player.steps


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
        except BaseException as error:  # noqa: BLE001 (raised again by `end`)
            self._error = error
        finally:
            sys.settrace(None)
            self._stopped.set()
            self._ended.set()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not self._is_watched(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and self._counts(frame):
            self.steps += 1
            if self.steps == self._stop:
                self._at_stop()
        return self._step

    @staticmethod
    @cache
    def _is_watched(file: str) -> bool:
        """Whether steps in this file count: those of the SDK without its evaluator, which keeps nothing."""
        return "abplatform_sdk" in file and "_assignment" not in file

    def _counts(self, frame: FrameType) -> bool:
        return _instructions(frame.f_code)[frame.f_lasti].startswith(_REACHES)

    def _wait(self) -> None:
        self._stopped.set()
        self._go_on.wait(10)


class _Interrupted(_Player):
    """A step is a place where CPython looks whether a signal has come."""

    def __init__(self, work: Callable[[], object], stop: int, at_stop: Callable[[], object]) -> None:
        super().__init__(work, stop, at_stop)
        self._before: dict[FrameType, int] = {}

    @staticmethod
    @cache
    def _is_watched(file: str) -> bool:
        """Also inside the locks of the standard library."""
        return file == threading.__file__ or _Player._is_watched(file)

    def _counts(self, frame: FrameType) -> bool:
        before = self._before.get(frame)
        self._before[frame] = frame.f_lasti
        return before is None or _instructions(frame.f_code)[before].startswith(_LOOKS)


@cache
def _instructions(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}
