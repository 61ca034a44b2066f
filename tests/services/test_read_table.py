"""Tables on disk: which rows a CSV file has, and what those cost that cannot be split into its columns."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import csv

from abplatform.services.read_table import source
from abplatform.services.read_table.source import read_batches
from abplatform.services.read_table.unsplit import UnsplitRows

GOOD, BAD = "x,1\n", "x\n"


def write(path: Path, lines: Iterable[str], *, begin: str = "") -> Path:
    path.write_bytes(f"{begin}a,b\n{''.join(lines)}".encode())
    return path


def read(path: Path) -> tuple[list[int], list[int]]:
    """Numbers of the good rows and of the others."""
    good: list[int] = []
    bad: list[int] = []
    for batch in read_batches(path, ["b"]):
        good += batch.numbers.tolist()
        bad += [fault.row for fault in batch.faults]
        assert len(batch.columns["b"]) == len(batch.numbers)
    return good, bad


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a file so small that a test needs no large one."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 512)
    monkeypatch.setattr(source, "BATCH_ROWS", 50)


SHAPES: dict[str, list[tuple[str, int]]] = {
    "good": [(GOOD, 1000)],
    "none": [],
    "one": [(BAD, 1)],
    "bad": [(BAD, 3000)],
    "bad first": [(BAD, 3000), (GOOD, 1000)],
    "bad last": [(GOOD, 1000), (BAD, 3000)],
    "bad within": [(GOOD, 999), (BAD, 3000), (GOOD, 1), (BAD, 2000), (GOOD, 2000)],
    "too many columns": [(GOOD, 3), ("1,2,3\n", 400), (GOOD, 300)],
    "one by one": [(GOOD, 1), (BAD, 1)] * 1500,
    "blank lines between": [(GOOD, 200), ("\n", 500), (BAD, 500), ("\n", 500), (GOOD, 200)],
}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("begin", ["", "\ufeff"], ids=["", "BOM"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_rows_have_their_numbers_wherever_others_cannot_be_split(
    tmp_path: Path, shape: list[tuple[str, int]], begin: str
) -> None:
    lines = [line for line, times in shape for _ in range(times)]
    rows = [line for line in lines if line.strip()]
    good = [number for number, line in enumerate(rows, 1) if line == GOOD]
    bad = [number for number, line in enumerate(rows, 1) if line != GOOD]
    assert read(write(tmp_path / "table.csv", lines, begin=begin)) == (good, bad)


@pytest.mark.usefixtures("small_parts")
def test_rows_have_their_numbers_in_any_order(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(30):
        lines = [line for _ in range(60) for line in [chance.choice([GOOD, BAD])] * chance.choice([1, 2, 30, 200])]
        found = read(write(tmp_path / "table.csv", lines))
        assert found == tuple([n for n, line in enumerate(lines, 1) if line == kind] for kind in (GOOD, BAD))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("shape", ["bad", "bad first", "bad last", "bad within"])
def test_faults_come_in_pieces_whether_good_rows_come_or_not(tmp_path: Path, shape: str) -> None:
    path = write(tmp_path / "table.csv", (line for line, times in SHAPES[shape] for _ in range(times)))
    assert max(len(batch.faults) for batch in read_batches(path, ["b"])) == source.BATCH_ROWS


def test_rows_may_come_at_any_time_while_others_are_taken() -> None:
    unsplit, rows = UnsplitRows("the end", 0), 100_000

    def bring() -> None:
        for number in range(1, rows + 1):
            unsplit(csv.InvalidRow(2, number % 7, number, "x"))

    numbers: list[int] = []
    columns: list[int] = []
    with ThreadPoolExecutor(1) as reader:
        brought = reader.submit(bring)
        while not brought.done():
            unsplit.number(0)
            taken = unsplit.take()
            numbers += taken.numbers.tolist()
            columns += taken.columns.tolist()
        brought.result()
    last = unsplit.take_all()
    assert numbers + last.numbers.tolist() == list(range(1, rows + 1))
    assert columns + last.columns.tolist() == [number % 7 for number in range(1, rows + 1)]


@pytest.mark.parametrize("begins_good", [True, False])
def test_memory_does_not_grow_with_the_rows_that_cannot_be_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins_good: bool
) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 8192)
    monkeypatch.setattr(source, "BATCH_ROWS", 2000)

    def peak(rows: int) -> int:
        path = write(tmp_path / "table.csv", [GOOD] * begins_good + [BAD] * rows)
        gc.collect()
        tracemalloc.start()
        try:
            assert sum(len(batch.faults) for batch in read_batches(path, ["b"])) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(20_000)  # what is made once
    assert peak(80_000) < 1.2 * peak(20_000)
