"""What several threads want at once: done in groups, and none fails by another's fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from abplatform.errors import AbplatformError, InboxFull, Unavailable
from abplatform.warehouse import together as together_module
from abplatform.warehouse.together import LARGEST_GROUP, Together

MOST = 100


class Gate:
    """Work that stops at its first group until it is told to go on, so that others gather."""

    def __init__(self, fail: Callable[[Sequence[int]], None] = lambda _: None) -> None:
        self.groups: list[list[int]] = []
        self.is_at_work, self.may_go_on = threading.Event(), threading.Event()
        self._fail = fail

    def work(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.is_at_work.set()
        assert self.may_go_on.wait(10)
        self._fail(items)
        return [item * 10 for item in items]


@contextmanager
def gathered(gate: Gate, items: Sequence[int]) -> Iterator[tuple[Together[int, list[int], int], list[Future[int]]]]:
    """The first item is at work, and the others wait in their order."""
    together: Together[int, list[int], int] = Together(
        gate.work, lambda done: done, weigh=lambda item: item, most=MOST, much=0
    )
    with ThreadPoolExecutor(len(items)) as pool:
        try:
            futures = [pool.submit(together.do, items[0])]
            assert gate.is_at_work.wait(10)
            for number, item in enumerate(items[1:], start=1):
                futures.append(pool.submit(together.do, item))
                _wait_for(together, number)
            yield together, futures
        finally:
            gate.may_go_on.set()


def test_what_comes_during_work_is_done_in_one_group_and_everybody_gets_the_own_outcome() -> None:
    gate = Gate()
    with gathered(gate, [1, 2, 3, 4]) as (_, futures):
        gate.may_go_on.set()
        assert [future.result(10) for future in futures] == [10, 20, 30, 40]
    assert gate.groups == [[1], [2, 3, 4]]


def test_a_group_has_a_largest_weight_and_what_is_heavier_comes_alone() -> None:
    gate = Gate()
    with gathered(gate, [1, 60, 40, 1, MOST + 1, 5]) as (_, futures):
        gate.may_go_on.set()
        assert [future.result(10) for future in futures] == [10, 600, 400, 10, 1010, 50]
    assert gate.groups == [[1], [60, 40], [1], [MOST + 1], [5]]


def test_a_group_has_a_largest_number() -> None:
    gate = Gate()
    with gathered(gate, [0] * (LARGEST_GROUP + 3)) as (_, futures):
        gate.may_go_on.set()
        assert {future.result(10) for future in futures} == {0}
    assert list(map(len, gate.groups)) == [1, LARGEST_GROUP, 2]


def test_one_that_fails_does_not_fail_its_neighbours() -> None:
    def refuse_three(items: Sequence[int]) -> None:
        if 3 in items:
            raise ValueError("no threes")

    gate = Gate(refuse_three)
    with gathered(gate, [1, 2, 3, 4]) as (together, futures):
        gate.may_go_on.set()
        assert [futures[place].result(10) for place in (0, 1, 3)] == [10, 20, 40]
        with pytest.raises(ValueError, match="no threes"):
            futures[2].result(10)
        assert together.do(5) == 50
    assert sorted(gate.groups[2:5]) == [[2], [3], [4]]


@pytest.mark.parametrize(
    ("error", "soon"), [(Unavailable("no answer"), 0.0), (InboxFull("no answer"), 60.0)], ids=["slow", "full"]
)
def test_what_takes_long_to_fail_or_finds_no_room_fails_for_all(
    monkeypatch: pytest.MonkeyPatch, error: AbplatformError, soon: float
) -> None:
    monkeypatch.setattr(together_module, "_SOON_SECONDS", soon)

    def refuse(items: Sequence[int]) -> None:
        if len(items) > 1:
            raise error

    gate = Gate(refuse)
    with gathered(gate, [1, 2, 3]) as (together, futures):
        gate.may_go_on.set()
        for future in futures[1:]:
            with pytest.raises(type(error), match="no answer"):
                future.result(10)
        assert together.do(4) == 40
    assert gate.groups == [[1], [2, 3], [4]]


def test_an_interrupt_of_the_one_who_works_leaves_the_others_at_work() -> None:
    def interrupt_first(items: Sequence[int]) -> None:
        if items[0] == 2 and len(items) > 1:
            raise KeyboardInterrupt

    gate = Gate(interrupt_first)
    with gathered(gate, [1, 2, 3]) as (together, futures):
        gate.may_go_on.set()
        with pytest.raises(KeyboardInterrupt):
            futures[1].result(10)
        assert futures[2].result(10) == 30
        assert together.do(4) == 40


def test_much_is_prepared_while_others_are_being_finished_and_little_gathers() -> None:
    prepared: list[list[int]] = []
    is_finishing, may_finish = threading.Event(), threading.Event()

    def finish(items: list[int]) -> list[int]:
        is_finishing.set()
        assert may_finish.wait(10)
        return items

    def prepare(items: Sequence[int]) -> list[int]:
        prepared.append(list(items))
        return prepared[-1]

    together = Together(prepare, finish, weigh=lambda item: item, most=MOST, much=10)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(together.do, 1)]
        assert is_finishing.wait(10)
        futures += [pool.submit(together.do, 4), pool.submit(together.do, 4)]
        _until(lambda: len(together._waiting) == 2)
        assert prepared == [[1]], "little waits for company"
        futures.append(pool.submit(together.do, 4))
        _until(lambda: len(prepared) == 2)
        assert prepared[1] == [4, 4, 4], "much does not"
        may_finish.set()
        assert [future.result(10) for future in futures] == [1, 4, 4, 4]


def _wait_for(together: Together[int, list[int], int], waiting: int) -> None:
    _until(lambda: len(together._waiting) == waiting)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)
