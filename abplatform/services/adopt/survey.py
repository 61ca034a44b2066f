"""First pass over a table: which rows are good, which variants they have, which units come twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abplatform.domain.definition_check import MOST_VARIANTS
from abplatform.errors import InvalidInput
from abplatform.services.adopt.request import ImportRequest
from abplatform.services.adopt.rows import count_variants, read_rows
from abplatform.services.read_table.source import Progress, RowFault, read_batches

OnFault = Callable[[RowFault], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is in a table.

    Attributes:
        units: good rows by variant; the control first, then by name.
        refused: how many rows are left out.
        refused_units: the same by variant, in the order of ``units``; rows whose variant is not known are in no count.
        amounts: conversion columns whose faulty values are all numbers, so that they are sums perhaps.
        repeated: numbers of the rows whose unit stands in an earlier good row, ascending.
    """

    units: Mapping[str, int]
    refused: int
    refused_units: Mapping[str, int]
    amounts: tuple[str, ...]
    repeated: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows go in."""
        return sum(self.units.values())


def survey_table(request: ImportRequest, *, on_fault: OnFault, progress: Progress | None = None) -> Survey:
    """Read the whole table once and count.

    Memory: 26 bytes per row where units are named (a 128-bit digest of each, so that no two are taken for one),
    nothing per row otherwise.

    Raises:
        InvalidInput: if the table cannot be read, holds no good row, or does not fit the request.
    """
    units: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    amounts: set[str] = set()
    words: set[str] = set()
    refused = 0
    index = _UnitIndex()
    for batch in read_batches(request.path, request.columns, numeric=request.numeric_columns, progress=progress):
        rows, bad = read_rows(batch, request)
        for fault in bad.faults:
            on_fault(fault)
        refused += len(bad.faults)
        lost.update(bad.variants)
        amounts |= bad.amounts
        words |= bad.words
        units.update(count_variants(rows.variants))
        _check_variety(request, units)
        if request.unit is not None:
            index.add(rows.units.to_pylist(), rows.numbers, rows.variants.to_pylist())
    repeated = index.repeated()
    for number, variant in repeated:
        on_fault(RowFault(number, request.unit, "is the unit of an earlier row"))
        units[variant] -= 1
        lost[variant] += 1
    likely_sums = tuple(sorted(amounts - words))
    _check_contents(request, units, refused, likely_sums)
    names = (request.control, *sorted(name for name in units if name != request.control))
    return Survey(
        units={name: units[name] for name in names},
        refused=refused + len(repeated),
        refused_units={name: lost[name] for name in names},
        amounts=likely_sums,
        repeated=np.array([number for number, _ in repeated], dtype=np.int64),
    )


class _UnitIndex:
    """Finds units that come twice, by digests kept as numbers."""

    def __init__(self) -> None:
        self._digests: list[npt.NDArray[np.void]] = []
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._codes: list[npt.NDArray[np.int16]] = []
        self._variants: dict[str, int] = {}

    def add(self, units: list[str], numbers: npt.NDArray[np.int64], variants: list[str]) -> None:
        digests = b"".join(hashlib.blake2b(unit.encode(), digest_size=16).digest() for unit in units)
        self._digests.append(np.frombuffer(digests, dtype="V16"))
        self._numbers.append(numbers)
        codes = [self._variants.setdefault(variant, len(self._variants)) for variant in variants]
        self._codes.append(np.array(codes, dtype=np.int16))

    def repeated(self) -> list[tuple[int, str]]:
        """Number and variant of every row whose unit has come before, in order."""
        if not self._digests:
            return []
        halves = np.concatenate(self._digests).view("u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # Stable: of equal units the earliest row stays first.
        again = np.zeros(len(order), dtype=np.bool_)
        again[order[1:]] = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
        names = list(self._variants)
        numbers, codes = np.concatenate(self._numbers)[again], np.concatenate(self._codes)[again]
        return [(number, names[code]) for number, code in zip(numbers.tolist(), codes.tolist(), strict=True)]


def _check_variety(request: ImportRequest, units: Counter[str]) -> None:
    if len(units) > MOST_VARIANTS:
        raise InvalidInput(
            {"variant": [f"{request.variant!r} has more than {MOST_VARIANTS} values; is it the column of the variant?"]}
        )


def _check_contents(request: ImportRequest, units: Counter[str], refused: int, likely_sums: tuple[str, ...]) -> None:
    if not units:
        bad = f": all {refused:,} rows are bad" if refused else ""
        hint = "".join(f"; {column!r} holds numbers: is it a --sum?" for column in likely_sums)
        raise InvalidInput({"file": [f"{request.path} has no rows to import{bad}{hint}"]})
    present = ", ".join(repr(name) for name in sorted(units))
    if request.control not in units:
        raise InvalidInput(
            {"control": [f"no row has {request.control!r} in {request.variant!r}; its values are {present}"]}
        )
    if len(units) < 2:
        raise InvalidInput({"variant": [f"{request.variant!r} has the one value {present}; two or more are needed"]})
    if request.weights and set(request.weights) != set(units):
        odd = sorted(set(request.weights) ^ set(units))[0]
        raise InvalidInput(
            {"weight": [f"weights must name each value of {request.variant!r} ({present}); see {odd!r}"]}
        )
