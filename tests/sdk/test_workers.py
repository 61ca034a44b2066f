"""One thread per worker, whenever a signal handler asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count

import pytest
from abplatform_sdk.notices import Troubles
from abplatform_sdk.process import Worker

from tests.sdk.interleavings import Scene, interrupt_everywhere


def test_a_signal_handler_may_wake_a_thread_that_is_being_woken() -> None:
    def make() -> Scene:
        steps: list[int] = []

        def step() -> None:
            steps.append(1)

        worker = Worker("worker", step, troubles=Troubles())
        worker.ensure()

        def check() -> None:
            worker.stop()
            worker.join(10)
            assert steps

        return Scene(worker.wake, worker.wake, check)

    assert interrupt_everywhere(make) > 5


def threads_of(name: str) -> int:
    return [each.name for each in threading.enumerate()].count(name)


def test_a_signal_handler_in_the_middle_of_a_start_starts_no_second_thread() -> None:
    names = map("worker-{}".format, count())

    def make() -> Scene:
        name = next(names)
        worker = Worker(name, lambda: None, troubles=Troubles())

        def check() -> None:
            assert threads_of(name) == 1
            worker.stop()
            worker.join(10)

        return Scene(worker.ensure, worker.ensure, check)

    assert interrupt_everywhere(make) > 20


def test_a_signal_handler_may_stop_a_worker_in_the_middle_of_its_start(eventually: Callable[..., None]) -> None:
    names = map("stopped-{}".format, count())

    def make() -> Scene:
        name = next(names)
        worker = Worker(name, lambda: None, troubles=Troubles())

        def stop() -> None:
            worker.stop()
            began = time.monotonic()
            # The new thread may wait for a lock of `Thread.start`, which cannot go on before the handler returns.
            worker.join(2)
            assert time.monotonic() - began < 1

        return Scene(worker.ensure, stop, lambda: eventually(lambda: threads_of(name) == 0))

    assert interrupt_everywhere(make) > 20


@pytest.mark.parametrize("delay", [None, 0.0, 0.1], ids=["before it", "after it", "while it is under way"])
def test_a_start_that_a_signal_handler_breaks_off_leaves_one_thread_in_the_end(
    delay: float | None, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    start = threading.Thread.start
    others: list[threading.Timer] = []

    def break_off(thread: threading.Thread) -> None:
        if delay == 0:
            start(thread)
        elif delay is not None:
            others.append(threading.Timer(delay, start, (thread,)))
            start(others[0])
        raise TimeoutError

    worker = Worker("worker", lambda: None, troubles=Troubles())
    with monkeypatch.context() as interrupted:
        interrupted.setattr(threading.Thread, "start", break_off)
        with pytest.raises(TimeoutError):
            worker.ensure()
    assert worker.ensure()
    for other in others:
        other.join()
    worker.wake()
    eventually(lambda: threads_of("worker") == 1)
    worker.stop()
    worker.join(10)
